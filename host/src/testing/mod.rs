//! For tests of plugins and of programs that send: the compiled component called directly, and a whole host
//! with a private database in one line.
//!
//! The third way needs nothing of this: natively a task is a plain function, and a unit test calls it.
//!
//! ```no_run
//! use hostler::testing::{Plugin, TestHost};
//!
//! // The component, without queue or database.
//! let text = Plugin::load("plugins/dist/text.wasm")?;
//! let counts = text.call(text::WordCount, text::WordCountArgs { text: "a b".to_owned() })?;
//! assert_eq!(counts.words, 2);
//!
//! // Everything there is: a server, a database, a host and a client.
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let host = TestHost::start().await?;
//! let args = text::WordCountArgs { text: "a b".to_owned() };
//! let counts = host.client().send(text::WordCount, args).await?.get(None).await?;
//! assert_eq!(counts.words, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod host;
mod plugin;

pub use host::{TestHost, TestHostError};
pub use plugin::{LoadError, Plugin};
