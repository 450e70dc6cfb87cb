"""What a tool is: registration, schemas, arguments, context. Contains no tool."""
