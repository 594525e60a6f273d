#![doc = "unanimity"]
pub mod verify;
