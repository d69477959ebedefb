//! The wires: connect, encode, decode, classify errors. One file a kind of store; client types stay in here.

pub mod objects;
