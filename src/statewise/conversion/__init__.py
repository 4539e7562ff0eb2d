"""Layer 7: the bridges between models. One file a bridge; `graph` finds chains of them."""
