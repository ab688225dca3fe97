//! What every test stands on: the release binary, with a database and a folder of
//! the test's own, and clients that remember what they were told.

pub mod ground;
pub mod load;

pub use ground::Ground;
pub use load::{Load, Told};
pub use tests::Postgres;
