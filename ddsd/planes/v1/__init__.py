"""The stock wire: ``/api/v1`` and ``/api/v3`` as the stock client speaks them (the wire contract).

Key spelling, dates, statuses and error shapes of that wire live here and nowhere else.
"""
