use hostler_guest::prelude::*;

pub struct Opaque;

#[task]
fn takes(_opaque: Opaque) -> Result<(), Failure> {
    Ok(())
}

#[task]
fn gives() -> Result<Opaque, Failure> {
    Ok(Opaque)
}

fn main() {}
