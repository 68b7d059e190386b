"""Mail: letters are rows in the transaction that causes them, and leave later, with retries."""
