"""Products made up for tests."""

from typing import Any

from layerbench.envs.webshop.catalogue.published import Product


def product_of(title: str, **changes: Any) -> Product:  # noqa: ANN401 - any field
    """Make a product with one empty feature, and without anything optional."""
    fields: dict[str, Any] = {
        "asin": "A",
        "category": "garden",
        "query": "lamps",
        "product_category": "Home \u203a Lamps",
        "title": title,
        "description": "",
        "bullets": ("",),
        "attributes": (),
        "prices": (5.0,),
        "price_tag": "$5.0",
        "options": {},
        "instruction": None,
        "human_instructions": (),
    }
    return Product(**(fields | changes))
