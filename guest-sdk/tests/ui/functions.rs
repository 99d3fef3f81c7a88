use hostler_guest::prelude::*;

#[task]
async fn waits() -> Result<(), Failure> {
    Ok(())
}

#[task]
fn borrows(text: &str) -> Result<(), Failure> {
    Ok(())
}

#[task]
fn two(a: u8, b: u8) -> Result<(), Failure> {
    Ok(())
}

#[task]
fn shown() -> Result<Shown, Failure> {
    Ok(Shown)
}

#[task]
fn plain(number: u32) -> u32 {
    number
}

fn main() {}
