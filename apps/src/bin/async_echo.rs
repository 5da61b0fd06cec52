//! Tasks that talk: a thousand clients, each a future of some hundred bytes, and one that answers them all.
#![no_std]
#![no_main]

use isochron::prelude::*;

const CLIENTS: u64 = 1000;

#[isochron::main]
fn main() {
    let (ask, asked) = channel::bounded::<(u64, channel::Sender<u64>)>(16);
    let echo = spawn_async(async move {
        let mut answered = 0;
        while let Ok((number, client)) = asked.recv_async().await {
            client.send_async(number).await.unwrap();
            answered += 1;
        }
        answered
    });
    let clients: Vec<_> = (0..CLIENTS).map(|number| spawn_async(client(number, ask.clone()))).collect();
    drop(ask);
    let right = clients.into_iter().filter_map(|client| client.join().ok()).filter(|&right| right).count();
    println!("{} answers, {right} of them right", echo.join().unwrap());
}

async fn client(number: u64, ask: channel::Sender<(u64, channel::Sender<u64>)>) -> bool {
    let (answer, answered) = channel::bounded(1);
    future::sleep(Duration::from_micros(number % 100)).await;
    ask.send_async((number, answer)).await.unwrap();
    // Who waits need not wait for ever.
    future::timeout(Duration::from_secs(1), answered.recv_async()).await == Ok(Ok(number))
}
