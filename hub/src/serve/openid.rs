//! The OpenID Connect issuer, asked with bounds: its description, its keys, its tokens.
//!
//! Owns the requests and the judgement of a token. What its claims mean is decided in `ops`.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier, CoreJwsSigningAlgorithm,
    CoreProviderMetadata,
};
use openidconnect::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse,
    IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse as _,
};
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::trust::{TrustError, trusting};
use crate::config::settings::OpenIdSettings;
use crate::core::time::UnixMillis;
use crate::ops::sign_in::openid::{Begun, ClaimRules, Claims, Issuer, IssuerError, Kept, OpenIdDoor};

/// How long an answer may take: somebody waits for it to be signed in.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The largest answer: a token, or the keys of a large issuer.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// How long the issuer's description and keys are believed: it says new keys long before it signs with them.
const DESCRIPTION_MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// How long an issuer is left alone that has not described itself: whoever waits meanwhile gets the same answer.
const FAILURE_MAX_AGE: Duration = Duration::from_secs(5);

/// How old its keys have to be for one that is not among them to be looked for again.
const KEYS_MIN_AGE: Duration = Duration::from_secs(5);

/// The largest file with a secret.
const SECRET_FILE_MAX_BYTES: u64 = 4 * 1024;

/// What tokens may be signed with. Not with the client's secret, which others may know, and not with nothing.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// The issuer can't be asked from here.
#[derive(Debug, thiserror::Error)]
pub enum OpenIdSetupError {
    /// Whom to trust.
    #[error("whom to trust for the OpenID Connect issuer is not known")]
    Trust(#[from] TrustError),
    /// The secret.
    #[error("openid.client_secret_file {path} can't be read")]
    Secret {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The URL.
    #[error("openid.issuer {0:?} is no URL")]
    Issuer(String),
    /// The client.
    #[error("the client of the OpenID Connect issuer can't be made")]
    Client(#[from] reqwest::Error),
}

/// An issuer that is reached over HTTPS.
struct HttpsIssuer {
    url: IssuerUrl,
    client_id: ClientId,
    secret_file: Option<PathBuf>,
    scopes: Vec<Scope>,
    http: Bounded,
    keys_min_age: Duration,
    described: Mutex<Option<(Instant, Result<CoreProviderMetadata, IssuerError>)>>,
}

/// A client that waits so long, and reads so much.
struct Bounded(Client);

/// The door for those who come from the issuer of these settings. Asks it nothing yet.
pub fn door(settings: &OpenIdSettings) -> Result<OpenIdDoor, OpenIdSetupError> {
    let http = client().use_preconfigured_tls(trusting(settings.authority_file.as_deref())?).https_only(true).build()?;
    // Now rather than when somebody signs in.
    settings.client_secret_file.as_deref().map(read_secret).transpose()?;
    Ok(OpenIdDoor::new(Arc::new(HttpsIssuer::new(settings, http)?), rules(settings)))
}

fn client() -> reqwest::ClientBuilder {
    // Whoever could send us elsewhere would be sent codes and secrets.
    Client::builder().no_proxy().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none())
}

fn rules(settings: &OpenIdSettings) -> ClaimRules {
    let rights = settings.groups.iter().map(|(group, rights)| (group.clone(), rights.0.iter().copied().collect()));
    ClaimRules { name_claim: settings.name_claim.clone(), groups_claim: settings.groups_claim.clone(), rights: rights.collect() }
}

fn read_secret(path: &Path) -> Result<SecretString, OpenIdSetupError> {
    let failed = |source| OpenIdSetupError::Secret { path: path.to_path_buf(), source };
    if fs::metadata(path).map_err(failed)?.len() > SECRET_FILE_MAX_BYTES {
        return Err(failed(io::Error::other("it is too large")));
    }
    fs::read_to_string(path).map(|text| text.trim().into()).map_err(failed)
}

impl HttpsIssuer {
    fn new(settings: &OpenIdSettings, http: Client) -> Result<Self, OpenIdSetupError> {
        Ok(Self {
            url: IssuerUrl::new(settings.issuer.clone()).map_err(|_| OpenIdSetupError::Issuer(settings.issuer.clone()))?,
            client_id: ClientId::new(settings.client_id.clone()),
            secret_file: settings.client_secret_file.clone(),
            scopes: settings.scopes.iter().cloned().map(Scope::new).collect(),
            http: Bounded(http),
            keys_min_age: KEYS_MIN_AGE,
            described: Mutex::default(),
        })
    }

    /// What the issuer says of itself, with its keys, if that was read so lately; otherwise what it says now.
    async fn described(&self, max_age: Duration) -> Result<CoreProviderMetadata, IssuerError> {
        // One asks, and others wait for the same answer.
        let mut described = self.described.lock().await;
        let is_new = |(read_at, said): &&(Instant, Result<_, _>)| read_at.elapsed() < if said.is_ok() { max_age } else { FAILURE_MAX_AGE };
        if let Some((_, said)) = described.as_ref().filter(is_new) {
            return said.clone();
        }
        let said = CoreProviderMetadata::discover_async(self.url.clone(), &self.http).await;
        let said = said.map_err(|error| IssuerError::Unavailable(format!("its description can't be had: {}", whole(&error))));
        *described = Some((Instant::now(), said.clone()));
        said
    }

    /// What a token says, if it is good: the issuer's, for us and for nobody else, in time, with the nonce.
    fn judged<'t>(
        &self,
        token: &'t CoreIdToken,
        nonce: &Nonce,
        said: &CoreProviderMetadata,
    ) -> Result<&'t CoreIdTokenClaims, ClaimsVerificationError> {
        let verifier = CoreIdTokenVerifier::new_public_client(self.client_id.clone(), self.url.clone(), said.jwks().clone());
        let claims = token.claims(&verifier.set_allowed_algs(ALGORITHMS), nonce)?;
        match claims.authorized_party() {
            Some(party) if *party != self.client_id => {
                Err(ClaimsVerificationError::InvalidAudience("another client has asked for it".to_owned()))
            }
            _ => Ok(claims),
        }
    }

    async fn secret(&self) -> Result<Option<ClientSecret>, IssuerError> {
        // Read each time: people sign in rarely, and the secret may have been replaced.
        let Some(path) = self.secret_file.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || read_secret(&path)).await;
        let read = read.map_err(|error| IssuerError::Unavailable(error.to_string()))?;
        let secret = read.map_err(|error| IssuerError::Unavailable(whole(&error)))?;
        Ok(Some(ClientSecret::new(secret.expose_secret().to_owned())))
    }
}

impl Bounded {
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, IssuerError> {
        // No secret is in what is left of the error: they are in bodies and headers.
        let failed = |error: reqwest::Error| IssuerError::Unavailable(whole(&error.without_url()));
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let mut answer = self.0.execute(request).await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(IssuerError::Unavailable("its answer is too large".to_owned()));
            }
            bytes.extend_from_slice(&piece);
        }
        let mut response = HttpResponse::new(bytes);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Bounded {
    type Error = IssuerError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, IssuerError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

#[async_trait]
impl Issuer for HttpsIssuer {
    fn name(&self) -> &str {
        self.url.as_str()
    }

    async fn begin(&self, redirect: &str) -> Result<Begun, IssuerError> {
        let client = CoreClient::from_provider_metadata(self.described(DESCRIPTION_MAX_AGE).await?, self.client_id.clone(), None);
        let client = client.set_redirect_uri(redirect_url(redirect)?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random);
        let (url, state, nonce) = request.add_scopes(self.scopes.iter().cloned()).set_pkce_challenge(challenge).url();
        let kept = Kept { nonce: nonce.secret().as_str().into(), verifier: verifier.into_secret().into() };
        Ok(Begun { url: url.into(), state: state.into_secret(), kept })
    }

    async fn finish(&self, redirect: &str, code: SecretString, kept: &Kept) -> Result<Claims, IssuerError> {
        let said = self.described(DESCRIPTION_MAX_AGE).await?;
        let client = CoreClient::from_provider_metadata(said.clone(), self.client_id.clone(), self.secret().await?);
        let client = client.set_redirect_uri(redirect_url(redirect)?).set_auth_type(auth_type(&said));
        let request = client.exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()));
        let request = request.map_err(|error| IssuerError::Unavailable(error.to_string()))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(kept.verifier.expose_secret().to_owned()));
        let answer = request.request_async(&self.http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => IssuerError::Refused(format!("the issuer has refused the code: {}", said.error())),
            RequestTokenError::Request(error) => error,
            // What could not be read may hold a token.
            RequestTokenError::Parse(..) => IssuerError::Unavailable("its answer to a code is no token".to_owned()),
            RequestTokenError::Other(said) => IssuerError::Unavailable(said),
        })?;
        let token = answer.id_token().ok_or_else(|| IssuerError::Unavailable("it gives no ID token for a code".to_owned()))?;
        let nonce = Nonce::new(kept.nonce.expose_secret().to_owned());
        let claims = match self.judged(token, &nonce, &said) {
            // It may sign with a new key already.
            Err(ClaimsVerificationError::SignatureVerification(_)) => self.judged(token, &nonce, &self.described(self.keys_min_age).await?),
            judged => judged,
        };
        let claims = claims.map_err(|error| IssuerError::Refused(format!("the issuer's token is not good here: {}", whole(&error))))?;
        let all = payload(&token.to_string()).ok_or_else(|| IssuerError::Unavailable("its ID token has no claims".to_owned()))?;
        let [issued, ends] = [claims.issue_time(), claims.expiration()].map(|time| UnixMillis(time.timestamp_millis()));
        Ok(Claims { issued, ends, all })
    }
}

/// How the secret is brought to an issuer that says this of itself.
fn auth_type(said: &CoreProviderMetadata) -> AuthType {
    match said.token_endpoint_auth_methods_supported() {
        Some(ways)
            if !ways.contains(&CoreClientAuthMethod::ClientSecretBasic) && ways.contains(&CoreClientAuthMethod::ClientSecretPost) =>
        {
            AuthType::RequestBody
        }
        _ => AuthType::BasicAuth,
    }
}

fn redirect_url(text: &str) -> Result<RedirectUrl, IssuerError> {
    RedirectUrl::new(text.to_owned()).map_err(|error| IssuerError::Unavailable(format!("nobody can come back to {text}: {error}")))
}

/// All claims of a token that was found good.
fn payload(token: &str) -> Option<Map<String, Value>> {
    let part = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?).ok()
}

/// An error with all of its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

#[cfg(test)]
mod tests;
