//! Says hello from a thread: the smallest program.
#![no_std]
#![no_main]

use isochron::prelude::*;

#[isochron::main]
fn main() {
    let cpu = spawn(thread::current_cpu).join().unwrap();
    println!("Hello from CPU {cpu}, one of {}.", thread::cpu_count());
}
