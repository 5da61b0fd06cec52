//! `#[isochron::main]`: the function that a program begins with.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// Makes a function the program's `main`.
///
/// The function takes nothing and returns `()` or a `Result` whose error is `Debug`; an error is printed and ends the
/// machine with code 1. It runs as a green thread, so it may block, and the machine ends when it returns.
///
/// ```ignore
/// #![no_std]
/// #![no_main]
/// use isochron::prelude::*;
///
/// #[isochron::main]
/// fn main() {
///     println!("hello");
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(unexpected) = arguments.into_iter().next() {
        return error(unexpected.span(), "`#[isochron::main]` takes no arguments");
    }
    let mut name: Option<Ident> = None;
    let mut tokens = item.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word.to_string() == "async" => {
                return error(word.span(), "`main` is a thread, not a future: take the `async` away");
            }
            TokenTree::Ident(word) if word.to_string() == "fn" => {
                name = tokens.next().and_then(|token| match token {
                    TokenTree::Ident(name) => Some(name),
                    _ => None,
                });
                match tokens.next() {
                    Some(TokenTree::Group(group)) if is_empty_parenthesis(&group) => break,
                    other => {
                        let span = other.map_or(Span::call_site(), |token| token.span());
                        return error(span, "`main` takes no arguments: ask `isochron::args()` for the program's");
                    }
                }
            }
            _ => {}
        }
    }
    let Some(name) = name else {
        return error(Span::call_site(), "`#[isochron::main]` belongs on a function");
    };
    let entry: TokenStream = format!(
        "const _: () = {{
            #[unsafe(no_mangle)]
            extern \"Rust\" fn __isochron_user_main() -> u8 {{
                ::isochron::entry::run(env!(\"CARGO_CRATE_NAME\"), {name})
            }}
        }};"
    )
    .parse()
    .expect("the entry is valid Rust");
    let mut out = item;
    out.extend(entry);
    out
}

fn is_empty_parenthesis(group: &Group) -> bool {
    group.delimiter() == Delimiter::Parenthesis && group.stream().is_empty()
}

fn error(span: Span, message: &str) -> TokenStream {
    let code: TokenStream = format!("::core::compile_error!({message:?});").parse().expect("a valid macro call");
    code.into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}
