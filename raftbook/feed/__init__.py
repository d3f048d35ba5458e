"""Pure views over events: what the market may see. No sockets, no state of the exchange."""
