use hostler_guest::prelude::*;

#[task(retries = 21)]
fn too_many() -> Result<(), Failure> {
    Ok(())
}

#[task(memory = "64 MB")]
fn wrong_unit() -> Result<(), Failure> {
    Ok(())
}

#[task(time_out = "1s")]
fn no_such_option() -> Result<(), Failure> {
    Ok(())
}

#[task(retries = 1, redeliveries = 0)]
fn never_twice() -> Result<(), Failure> {
    Ok(())
}

#[task(backoff = exponential(base = "1s"))]
fn no_cap() -> Result<(), Failure> {
    Ok(())
}

fn main() {}
