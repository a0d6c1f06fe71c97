//! The checks of a token, and who watches them being made.

use crate::policy::Reason;

macro_rules! checks {
    ($($variant:ident = $name:literal, $asks:literal;)*) => {
        /// A check of a token. Each is made once, and none after the first that fails.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Check {
            $(#[doc = $asks] $variant,)*
        }

        impl Check {
            /// Every check there is, in the order in which they are made.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What it asks.
            #[must_use]
            pub const fn asks(self) -> &'static str {
                match self { $(Self::$variant => $asks),* }
            }
        }
    };
}

checks! {
    Form = "form", "is it a signed JWT of at most 16 KiB and without `crit`, or an opaque token";
    Issuer = "issuer", "is `iss` a configured issuer";
    Keys = "keys", "are the issuer's keys there";
    Type = "type", "is the header's `typ` among `types`";
    Key = "key", "has the issuer a key for `kid` and `alg`";
    Signature = "signature", "is the signature that key's";
    Asked = "asked", "can it be judged without asking its issuer, as nobody does here";
    Kind = "kind", "is it a kind of token that `accepts` names";
    Binding = "binding", "is it free of `cnf`, which nobody checks here";
    Lifetime = "lifetime", "does it hold now, and not for too long (`exp`, `nbf`, `iat`)";
    Audience = "audience", "is one of `audiences` in `aud`";
    Party = "party", "is `azp` or `client_id` among `authorized_parties`";
    Subject = "subject", "does it name a subject";
    Revocable = "revocable", "are `jti` and `sid` texts (whether it is revoked, the running gate knows)";
}

/// Sees the checks as they are made. It gets the result and gives it back: the caller goes on with what came back, so a watcher and
/// the gate cannot be of two minds.
pub trait Watch {
    /// A check was made, with this result.
    ///
    /// # Errors
    /// The result's own.
    fn made<T>(&mut self, check: Check, result: Result<T, Reason>) -> Result<T, Reason>;
}

/// Nobody watches, which costs nothing.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    #[inline]
    fn made<T>(&mut self, _: Check, result: Result<T, Reason>) -> Result<T, Reason> {
        result
    }
}
