"""Small applications that use Backroom."""
