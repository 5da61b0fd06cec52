//! How a case says that it failed.

use alloc::format;
use alloc::string::String;
use core::fmt::Debug;

/// Why a case did not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Something was not as it should be.
    Failed(String),
    /// It makes no sense on this machine.
    Ignored(String),
}

/// What a case returns. Threads of a case may return it too, for `?`.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Fails the case unless the condition holds. Further arguments say what was found, as in `format!`.
#[macro_export]
macro_rules! check {
    ($condition:expr $(,)?) => { $crate::check!($condition, "not so") };
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::failed(stringify!($condition), ::core::line!(), ::core::format_args!($($what)+)));
        }
    };
}

/// Fails the case unless both sides are equal.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr $(,)?) => { $crate::check_eq!($left, $right, "not equal") };
    ($left:expr, $right:expr, $($what:tt)+) => {
        // A `match`, so that temporaries in the expressions live until the end.
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                return Err($crate::differ(
                    concat!(stringify!($left), " == ", stringify!($right)),
                    ::core::line!(),
                    left,
                    right,
                    ::core::format_args!($($what)+),
                ));
            }
        }
    };
}

/// Leaves the case as one that makes no sense on this machine.
#[macro_export]
macro_rules! ignore {
    ($($why:tt)+) => { return Err($crate::ignored(::core::format_args!($($why)+))) };
}

#[doc(hidden)]
#[cold]
pub fn failed(condition: &str, line: u32, what: core::fmt::Arguments<'_>) -> Failure {
    Failure::Failed(format!("line {line}: `{condition}`: {what}"))
}

#[doc(hidden)]
#[cold]
pub fn differ(
    condition: &str,
    line: u32,
    left: &dyn Debug,
    right: &dyn Debug,
    what: core::fmt::Arguments<'_>,
) -> Failure {
    Failure::Failed(format!("line {line}: `{condition}`: {what}: {left:?} and {right:?}"))
}

#[doc(hidden)]
#[cold]
pub fn ignored(why: core::fmt::Arguments<'_>) -> Failure {
    Failure::Ignored(format!("{why}"))
}
