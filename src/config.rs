//! L4: configuration. Two stages: what is written ([`settings`], [`crate::policy::document`]), read
//! without any IO; and what is made of it ([`load`]), which opens files and reports every mistake of
//! every file at once.

pub mod address;
pub mod document;
pub mod environment;
pub mod layers;
pub mod load;
pub mod period;
pub mod report;
pub mod schema;
pub mod settings;

pub use load::{Loaded, Part, Source, load};
pub use report::Report;
