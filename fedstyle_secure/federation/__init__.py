"""Who talks to whom: the artist's ClientApp, the platform's ServerApp, and the engines that run them."""
