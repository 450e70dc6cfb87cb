"""What the demo workspace says."""

CAFE = (
    "First light over the harbor, first shot of the day. We are open from seven.",
    "The Ethiopian lot from Guji is back: apricot, jasmine, and a finish that stays.",
    "Behind the bar: how we dial in a new roast, gram by gram.",
    "Cinnamon buns at nine. They were gone by ten yesterday, so consider this a warning.",
    "A regular asked for the quiet table by the window. It is yours every Tuesday, Marie.",
    "Cupping tonight at six. Four coffees, no experience needed, bring a friend.",
    "New cups from the potter down the street. No two are alike.",
    "Rain all day? We have soup, sourdough and strong Wi-Fi.",
    "Decaf that does not taste like an apology. Ask for the Sugarcane from Huila.",
    "Our oat milk comes from a farm forty kilometres away. Here is why we switched.",
    "Latte art class on Sunday: two places left. Write to us.",
    "The terrace is open again. Blankets included.",
    "How long should coffee rest after roasting? Shorter answer than you think: ten days.",
    "Thank you for 500 reviews. We read every one of them.",
    "Lemon tart, black sesame, very good. That is the post.",
    "We are closed on Monday for the yearly deep clean of the roaster.",
    "Sunrise crew: Yusuf has opened this door for three years today.",
    "Filter of the week: Kenya Nyeri, bright as a new coin.",
    "Bring your own cup, save 30 cents. 4,112 cups saved so far this year.",
    "A short film from roasting day: from green to brown in eleven minutes.",
    "The jazz trio plays on Friday from eight. Entry is free, the hat goes round.",
    "Question of the week: milk first, or coffee first?",
    "We pay 40 % above the market price for this lot. The farmer's name is Alemayehu.",
    "Brunch reservations for the weekend are open.",
    "Your laptop is welcome until noon; after that we keep tables for lunch.",
    "The espresso machine turned ten. It still wakes up before we do.",
    "Gift cards are here, printed on coffee-sack paper.",
    "How we write our menu: start with what is ripe, end with what we crave.",
    "Iced filter season. Slow, clear, no sugar needed.",
    "Meet the suppliers: the bakery that delivers by cargo bike at five in the morning.",
    "Book swap shelf: take one, leave one. The detective novels go fastest.",
    "Thirty minutes before closing, pastries go into surprise bags for four euros.",
    "Our barista Lena placed third at the regional championship. We are unreasonably proud.",
    "The harbor is frozen at the edges this morning. Hot chocolate weather.",
    "A note on tips: they go to the whole team, kitchen included.",
    "Fresh paint, same smell of coffee. Come and see the back room.",
    "What grinder should you buy? The one you will clean.",
    "Saturday market: find our stand next to the flower lady.",
    "We changed the house blend a little. Tell us if you notice.",
    "Last call for the autumn menu: the pumpkin scone leaves on Sunday.",
)

# Days from today, hour, text, accounts, pictures.
UPCOMING = (
    (
        1,
        18,
        "The winter menu is here: spiced pear, smoked butter, and a cocoa that needs a spoon.",
        ("instagram", "linkedin"),
        1,
    ),
    (2, 12, "Roasting day on Thursday: come and smell it from the street.", ("twitter",), 0),
    (
        3,
        18,
        "Two years today. Thank you to everyone who walked through that door.",
        ("instagram", "twitter", "linkedin"),
        1,
    ),
    (5, 9, "We are looking for a pastry chef who loves early mornings. Details in the link.", ("linkedin",), 0),
    (8, 18, "Advent calendar, but with coffee: 24 small bags, 24 origins.", ("instagram",), 1),
    (9, 12, "Workshop: brew better at home, Wednesday the week after next.", ("linkedin", "twitter"), 0),
)

THREAD = (
    "Five things that make a bigger difference than a new coffee machine 🧵",
    "1. Water. If it tastes of nothing, your coffee can taste of something.",
    "2. A grinder with burrs. Blades chop, burrs grind.",
    "3. A scale. Sixty grams to the litre, then move from there.",
    "4. Fresh beans, but not too fresh: ten days after roasting is a good day.",
    "5. Warm the cup. It costs nothing.",
)

DRAFTS = (
    ("Idea: a series about the people behind the bar, one portrait a week.", ("instagram",)),
    ("Opening hours over the holidays (check with Yusuf first!)", ("instagram", "twitter", "linkedin")),
    ("Why we stopped printing the menu", ("linkedin",)),
)

STUDIO = (
    "Three walls, one lamp, forty product shots before lunch.",
    "Daylight or flash? For ceramics we take both. Here is the difference.",
    "The new backdrop is handmade linen, dyed with walnut.",
    "Behind the scenes of the spring catalogue: a lot of tape.",
    "We rent the small studio by the hour from this month on.",
    "A portrait should take ten minutes and last ten years.",
    "Retouching rule number one: leave the scar.",
    "Open studio on the first Friday. Coffee is on us.",
)
