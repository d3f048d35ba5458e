"""What the market may see of a side of a book, found out order by order."""

from raftbook.core.ladder import Ladder


def seen_orders(ladder: Ladder) -> list[tuple[int, int, int]]:
    """(order_id, price, what it shows) of each order that shows something, in their order."""
    orders = [(order, level.price) for level in ladder for order in level]
    return [(each.terms[0], price, each.shown_qty()) for each, price in orders if each.shown_qty()]


def seen_rows(ladder: Ladder) -> list[tuple[int, int, int]]:
    """(price, what is shown, orders that show something) at each price."""
    orders = seen_orders(ladder)
    return [
        (
            price,
            sum(shown for _, at, shown in orders if at == price),
            sum(at == price for _, at, _ in orders),
        )
        for price in dict.fromkeys(price for _, price, _ in orders)
    ]
