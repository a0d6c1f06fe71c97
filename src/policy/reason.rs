//! Why a request is refused: one stable code each, one table to the status.

/// What kind of refusal it is. The client learns this, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request itself cannot be judged: 400.
    Malformed,
    /// No credential that proves who is asking: 401.
    Unauthenticated,
    /// More than one credential, so that it is unclear who is asking: 400.
    AmbiguousCredential,
    /// The asker is known and lacks what the rule demands: 403, or the policy's `forbidden_status`.
    Forbidden,
    /// Refused whoever asks: 403.
    Barred,
    /// It is more than the asker may: 429.
    Limited,
    /// The gate has no such endpoint: 404.
    NoEndpoint,
    /// The gate cannot decide: 503.
    Unable,
}

impl Class {
    /// The HTTP status of this class; `forbidden` is the policy's `forbidden_status`.
    #[must_use]
    pub const fn status(self, forbidden: u16) -> u16 {
        match self {
            Self::Malformed | Self::AmbiguousCredential => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => forbidden,
            Self::Barred => 403,
            Self::NoEndpoint => 404,
            Self::Limited => 429,
            Self::Unable => 503,
        }
    }
}

macro_rules! reasons {
    ($($variant:ident = $code:literal, $class:ident, $meaning:literal;)*) => {
        /// The reason of a refusal. Its code is a public, stable name: in the audit line, the metric
        /// label and the README's table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason there is, in the order of the README's table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// What the client is told of it.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),* }
            }

            /// What it means, for the operator.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

reasons! {
    NoCredential = "no_credential", Unauthenticated,
        "the rule demands a credential of a kind that the request does not carry";
    MalformedCredential = "malformed_credential", Unauthenticated,
        "`Authorization: Bearer` without exactly one token behind it";
    MalformedToken = "malformed_token", Unauthenticated,
        "the token is no signed JWT in compact form, or its JSON is broken, doubled or too deep; and no issuer is asked about such tokens";
    TokenTooLarge = "token_too_large", Unauthenticated,
        "the token is longer than 16 KiB";
    UnknownIssuer = "unknown_issuer", Unauthenticated,
        "`iss` names no configured issuer";
    WrongType = "wrong_type", Unauthenticated,
        "the header's `typ` is not one that the issuer's `types` allow";
    WrongKind = "wrong_kind", Unauthenticated,
        "the claims are those of another kind of token (ID, refresh, logout) than the issuer's `accepts` names";
    SenderConstrained = "sender_constrained", Unauthenticated,
        "the token is bound to its holder by `cnf`, and no proof of that is checked here";
    CriticalHeader = "critical_header", Unauthenticated,
        "the header demands an extension by `crit`; none is understood";
    AlgorithmNotAllowed = "algorithm_not_allowed", Unauthenticated,
        "`alg` is unknown, or not the one that the key is bound to";
    UnknownKey = "unknown_key", Unauthenticated,
        "the issuer has no key that `kid` names";
    BadSignature = "bad_signature", Unauthenticated,
        "the signature does not verify";
    MalformedClaim = "malformed_claim", Unauthenticated,
        "a registered claim has the wrong type or a senseless value";
    NoExpiry = "no_expiry", Unauthenticated,
        "the token has no `exp`";
    Expired = "expired", Unauthenticated,
        "`exp` has passed";
    NotYetValid = "not_yet_valid", Unauthenticated,
        "`nbf` has not come";
    IssuedInFuture = "issued_in_future", Unauthenticated,
        "`iat` lies in the future";
    LifetimeTooLong = "lifetime_too_long", Unauthenticated,
        "from `iat` to `exp` is longer than the issuer's `max_lifetime`";
    WrongAudience = "wrong_audience", Unauthenticated,
        "`aud` names none of the issuer's `audiences`";
    WrongParty = "wrong_party", Unauthenticated,
        "`azp` (or `client_id`) is none of the issuer's `authorized_parties`";
    Inactive = "inactive", Unauthenticated,
        "the issuer was asked about the token and says that it is not active";
    NoSubject = "no_subject", Unauthenticated,
        "the token has no `sub`";
    Revoked = "revoked", Unauthenticated,
        "the token, its session or its subject was revoked";
    DoubledCredential = "doubled_credential", AmbiguousCredential,
        "the request carries the same kind of credential twice";
    ConflictingCredentials = "conflicting_credentials", AmbiguousCredential,
        "two credentials name different subjects";
    MissingRole = "missing_role", Forbidden,
        "the principal lacks a role that the rule demands";
    MissingScope = "missing_scope", Forbidden,
        "the token lacks a scope that the rule demands";
    MissingGroup = "missing_group", Forbidden,
        "the principal is in none of the groups that the rule demands";
    EmailMismatch = "email_mismatch", Forbidden,
        "the principal has no verified e-mail address in a domain that the rule demands";
    IssuerNotAllowed = "issuer_not_allowed", Forbidden,
        "the rule does not take this issuer's word";
    ClientNotAllowed = "client_not_allowed", Barred,
        "the client's address is in none of the networks that the rule demands";
    OutsideTimes = "outside_times", Barred,
        "the rule lets nobody in at this time";
    Excluded = "excluded", Forbidden,
        "what the rule excludes by `not` holds";
    ConditionFalse = "condition_false", Forbidden,
        "the rule's `when` is false";
    ConditionFailed = "condition_failed", Forbidden,
        "the rule's `when` has no answer: what it reads is absent or of another type";
    InsufficientUserAuthentication = "insufficient_user_authentication", Unauthenticated,
        "the sign-in is older or weaker than the rule's `fresh` demands (RFC 9470)";
    ClaimMismatch = "claim_mismatch", Forbidden,
        "a claim is not as the rule demands";
    IdentityTooLarge = "identity_too_large", Forbidden,
        "an identity header would be longer than `identity_headers.max_bytes`";
    IdentityUnsafe = "identity_unsafe", Forbidden,
        "an identity header would have to be encoded, and `identity_headers.unsafe_values` is `refuse`";
    NoRule = "no_rule", Barred,
        "no rule of the policy matches host, path and method";
    CorsRefused = "cors_refused", Barred,
        "a preflight asks for an origin or a header that the rule's `cors` does not list";
    RateLimited = "rate_limited", Limited,
        "a bucket of the policy's `limits` is empty; the audit line names the limit";
    UnknownRuleSet = "unknown_rule_set", Barred,
        "the proxy names a rule set that the policy does not have";
    UntrustedPeer = "untrusted_peer", Barred,
        "the asking peer is not in `trusted_proxies`";
    MissingForwarded = "missing_forwarded", Malformed,
        "a header that the dialect needs (method, host, URI or client address) is missing";
    DoubledForwarded = "doubled_forwarded", Malformed,
        "a header that the dialect reads came more than once";
    MalformedMethod = "malformed_method", Malformed,
        "the method is no upper-case token, or is CONNECT";
    MalformedHost = "malformed_host", Malformed,
        "the host is not exactly one host with an optional port";
    MalformedUri = "malformed_uri", Malformed,
        "the URI is no origin-form target in printable ASCII of at most 8 KiB";
    AmbiguousPath = "ambiguous_path", Malformed,
        "the path can be read in two ways (dot segments, `//`, `;`, `\\`, encoded delimiters, a blank or dot at a segment's end, invisible or look-alike characters)";
    ConflictingUri = "conflicting_uri", Malformed,
        "`X-Original-URL` names another URI than the dialect's own source, or the address's `?policy=` is a copy of the client's query";
    MalformedProto = "malformed_proto", Malformed,
        "`X-Forwarded-Proto` came more than once or holds a list";
    MalformedClient = "malformed_client", Malformed,
        "the client address is no IP address";
    UnknownEndpoint = "unknown_endpoint", NoEndpoint,
        "the decision listener has no such endpoint";
    KeysUnavailable = "keys_unavailable", Unable,
        "the issuer's keys are not loaded";
    IntrospectionFailed = "introspection_failed", Unable,
        "the issuer must be asked about the token, and gave no usable answer in time or a moment ago";
    RevocationsStale = "revocations_stale", Unable,
        "what is revoked is not known: not loaded yet, or older than `revocations.max_feed_age`";
    LimitsUnavailable = "limits_unavailable", Unable,
        "the store of limits does not answer, and `limits.on_loss` is `refuse`";
    Deadline = "deadline", Unable,
        "the decision did not come within the listener's `deadline`";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_no_refusal_is_a_success() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!((400..=503).contains(&reason.class().status(403)), "{reason:?}");
            assert!(reason.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }
}
