use hostler_guest::prelude::*;

#[task]
fn one() -> Result<(), Failure> {
    Ok(())
}

hostler_guest::plugin!("one-two", [one]);
hostler_guest::plugin!("one", [one, one]);
hostler_guest::plugin!("one", []);

fn main() {}
