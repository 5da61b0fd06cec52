//! The macro.

/// Waits at several channels until one of them is ready, and runs that one's code.
///
/// | arm | chosen when |
/// | --- | --- |
/// | `recv(rx) -> result => code` | a message is there, or the channel is closed and empty; `result` is as of [`Receiver::recv`](crate::channel::Receiver::recv) |
/// | `send(tx, message) -> result => code` | the message has gone, or the channel is closed; `result` is as of [`Sender::send`](crate::channel::Sender::send) |
/// | `send(tx, in slot) -> result => code` | the same for the message in `slot`, an `Option` |
/// | `default => code` | no other arm is ready at once |
/// | `timeout(duration) => code` | no other arm is ready within that time |
/// | `deadline(instant) => code` | no other arm is ready until then |
///
/// At the most one of the last three, at any place. Arms are separated by commas, which may be left out after a block.
/// If several are ready, each is as likely as the others. `rx` and `tx` are places or references, and are evaluated once,
/// as is `message`, before anything is waited for; a message that has not gone is dropped, unless it is in a `slot`: that
/// is empty if the message has gone (or come back in `result`), and keeps it otherwise. An arm whose slot is empty from
/// the start is never chosen.
///
/// The whole is an expression. `break`, `return` and `?` in the code leave what is around it.
///
/// ```ignore
/// let ticks = select! {
///     recv(numbers) -> number => number.unwrap_or(0),
///     send(requests, 7) -> sent => { sent?; 0 }
///     timeout(Duration::from_millis(5)) => return Err(Late),
/// };
/// ```
///
/// # Panics
/// If there are more than 32 arms that send or receive; if it must wait where a thread must not block; if it should wait
/// for ever and all its slots are empty.
#[macro_export]
macro_rules! select {
    // @head [arms so far] [what if none] rest
    (@head $arms:tt $none:tt recv($rx:expr) -> $result:pat => $($rest:tt)+) => {
        $crate::select!(@body $arms $none
            { arm [let mut arm = $crate::channel::select::RecvArm::new(&$rx);] $result } $($rest)+)
    };
    (@head $arms:tt $none:tt send($tx:expr, in $slot:expr) -> $result:pat => $($rest:tt)+) => {
        $crate::select!(@body $arms $none
            { arm [let mut arm = $crate::channel::select::SendArm::new(&$tx, &mut $slot);] $result } $($rest)+)
    };
    (@head $arms:tt $none:tt send($tx:expr, $message:expr) -> $result:pat => $($rest:tt)+) => {
        $crate::select!(@body $arms $none
            { arm [
                let mut slot = ::core::option::Option::Some($message);
                let mut arm = $crate::channel::select::SendArm::new(&$tx, &mut slot);
            ] $result } $($rest)+)
    };
    (@head $arms:tt [] default => $($rest:tt)+) => {
        $crate::select!(@none $arms [$crate::channel::select::Until::Now] $($rest)+)
    };
    (@head $arms:tt [] timeout($time:expr) => $($rest:tt)+) => {
        $crate::select!(@none $arms
            [$crate::channel::select::Until::Deadline($crate::Instant::now() + $time)] $($rest)+)
    };
    (@head $arms:tt [] deadline($at:expr) => $($rest:tt)+) => {
        $crate::select!(@none $arms [$crate::channel::select::Until::Deadline($at)] $($rest)+)
    };
    (@head $arms:tt []) => {
        $crate::select!(@end $arms [[$crate::channel::select::Until::Forever]
            ::core::unreachable!("a select! ended with no arm")])
    };
    (@head $arms:tt $none:tt) => { $crate::select!(@end $arms $none) };
    (@head $arms:tt [$($none:tt)+] $last:ident $(($($of:tt)*))? => $($rest:tt)+) => {
        ::core::compile_error!("select!: `default`, `timeout` and `deadline` exclude each other")
    };
    (@head $arms:tt $none:tt $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!("select!: expected `recv(rx) -> result => code`, `send(tx, message) -> \
            result => code`, `default => code`, `timeout(duration) => code` or `deadline(instant) => code`, found `",
            ::core::stringify!($($rest)+), "`"))
    };

    (@body [$($arms:tt)*] $none:tt { $($arm:tt)+ } $body:block $(, $($rest:tt)*)?) => {
        $crate::select!(@head [$($arms)* { $($arm)+ => $body }] $none $($($rest)*)?)
    };
    (@body [$($arms:tt)*] $none:tt { $($arm:tt)+ } $body:block $($rest:tt)+) => {
        $crate::select!(@head [$($arms)* { $($arm)+ => $body }] $none $($rest)+)
    };
    (@body [$($arms:tt)*] $none:tt { $($arm:tt)+ } $body:expr $(, $($rest:tt)*)?) => {
        $crate::select!(@head [$($arms)* { $($arm)+ => $body }] $none $($($rest)*)?)
    };

    (@none $arms:tt $until:tt $body:block $(, $($rest:tt)*)?) => {
        $crate::select!(@head $arms [$until $body] $($($rest)*)?)
    };
    (@none $arms:tt $until:tt $body:block $($rest:tt)+) => { $crate::select!(@head $arms [$until $body] $($rest)+) };
    (@none $arms:tt $until:tt $body:expr $(, $($rest:tt)*)?) => {
        $crate::select!(@head $arms [$until $body] $($($rest)*)?)
    };

    (@end [$({ $arm:ident [$($make:tt)+] $result:pat => $body:expr })*] [[$until:expr] $none:expr]) => {{
        $($($make)+)*
        $crate::channel::select::run(&mut [$(&mut $arm),*], $until);
        $(if $arm.is_chosen() {
            let $result = $arm.finish();
            $body
        } else)* {
            $none
        }
    }};

    (@ $($wrong:tt)*) => { ::core::compile_error!("select!: this is not the end of an arm: a comma is missing") };
    ($($arms:tt)+) => { $crate::select!(@head [] [] $($arms)+) };
    () => { ::core::compile_error!("select!: no arms") };
}
