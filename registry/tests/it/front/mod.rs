//! What stands before the registry, over real sockets: login, tokens, TLS, limits, and the way to stop.

mod lab;
mod login;
mod people;
mod slow;
mod stop;
mod tls;
mod tokens;
