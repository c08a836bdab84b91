//! Admission in process: decisions, patches, reviews through the router, and real TLS sockets.

mod certificates;
mod client;
mod connections;
mod decide;
mod drain;
mod fixtures;
mod patch;
mod probes;
mod reviews;
