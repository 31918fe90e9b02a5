/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/fetch_transfer.h"

#include "core/interrupt.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RECEIVE_BUFFER (256L << 10)
#define UNRESOLVED_ATTEMPTS 2
#define ERROR_PAGE_MAX ((size_t)64 << 10)

struct kp_wire {
    CURLM *multi;
    unsigned running;
};

struct kp_request_handle {
    CURL *easy;
    struct curl_slist *headers;
    CURLcode result;
    char error[CURL_ERROR_SIZE];
};

/* --- connections -------------------------------------------------------------------------- */

struct kp_wire *kp_wire_new(unsigned connections)
{
    struct kp_wire *wire = kp_alloc(sizeof(*wire));
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(wire->multi = curl_multi_init()))
        abort(); // only out of memory gets here
    curl_multi_setopt(wire->multi, CURLMOPT_MAXCONNECTS, (long)connections);
    return wire;
}

void kp_wire_free(struct kp_wire *wire)
{
    if (!wire)
        return;
    curl_multi_cleanup(wire->multi);
    curl_global_cleanup();
    kp_free(wire);
}

unsigned kp_wire_running(const struct kp_wire *wire)
{
    return wire->running;
}

int kp_wire_move(struct kp_wire *wire, struct kp_err *err)
{
    int running;
    CURLMcode code = curl_multi_perform(wire->multi, &running);
    return code == CURLM_OK ? 0
                            : kp_fail(err, KP_FAILED, "transfers: %s", curl_multi_strerror(code));
}

int kp_wire_wait(struct kp_wire *wire, double seconds, struct kp_err *err)
{
    struct curl_waitfd interrupt = {.fd = kp_interrupt_fd(), .events = CURL_WAIT_POLLIN};
    unsigned fds = interrupt.fd >= 0 ? 1 : 0;
    CURLMcode code = curl_multi_poll(wire->multi, &interrupt, fds, (int)(seconds * 1000) + 1, NULL);
    if (code != CURLM_OK)
        return kp_fail(err, KP_FAILED, "waiting for the network: %s", curl_multi_strerror(code));
    return 0;
}

struct kp_transfer *kp_wire_ended(struct kp_wire *wire)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(wire->multi, &left))) {
        struct kp_transfer *t = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
        t->request->result = result;
        return t;
    }
    return NULL;
}

/* --- where it goes ------------------------------------------------------------------------ */

void kp_transfer_drop(struct kp_transfer *t)
{
    struct kp_request_handle *request = t->request;
    if (!request)
        return;
    curl_multi_remove_handle(t->wire->multi, request->easy);
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->headers);
    kp_free(request);
    t->request = NULL;
    t->wire->running--;
}

void kp_transfer_release(struct kp_transfer *t)
{
    kp_transfer_drop(t);
    kp_body_release(&t->body);
    kp_reply_release(&t->answer);
    kp_free(t->home);
    kp_free(t->url);
    kp_free(t->what);
}

/* The hop goes to url, which is taken. */
static void set_url(struct kp_transfer *t, char *url)
{
    kp_auto_free char *wanted = kp_url_shown(t->job->url);
    kp_auto_free char *asked = kp_url_shown(url);
    kp_free(t->url);
    kp_free(t->what);
    t->url = url;
    t->what =
        strcmp(wanted, asked) == 0 ? kp_strdup(wanted) : kp_asprintf("%s (at %s)", wanted, asked);
}

static char *part_of_url(const char *url, CURLUPart part)
{
    char *text = NULL, *out = NULL;
    CURLU *parsed = curl_url();
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK)
        out = kp_strdup(text);
    curl_free(text);
    curl_url_cleanup(parsed);
    return out ? out : kp_strdup("");
}

/* Location may be relative. CURLINFO_REDIRECT_URL is no help: it carries user and password over. */
static char *join_url(const char *base, const char *location)
{
    char *text = NULL;
    CURLU *url = curl_url();
    if (*location && url && curl_url_set(url, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
        (void)curl_url_get(url, CURLUPART_URL, &text, 0);
    char *out = kp_strdup(text);
    curl_free(text);
    curl_url_cleanup(url);
    return out;
}

static bool same_part(const char *a, const char *b, CURLUPart part)
{
    kp_auto_free char *x = part_of_url(a, part);
    kp_auto_free char *y = part_of_url(b, part);
    return *x && strcasecmp(x, y) == 0;
}

static bool same_origin(const char *a, const char *b)
{
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) &&
           same_part(a, b, CURLUPART_PORT);
}

static bool plain_allowed(const struct kp_site *site)
{
    return site && (site->plain_http || strncmp(site->to, "http://", 7) == 0);
}

static int check_scheme(const struct kp_transfer *t, struct kp_err *err)
{
    kp_auto_free char *scheme = part_of_url(t->url, CURLUPART_SCHEME);
    kp_auto_free char *user = part_of_url(t->url, CURLUPART_USER);
    if (*user)
        return kp_fail_as(err, KP_FAILED, t->redirects ? "redirect" : "bad_url",
                          "%s: a URL with credentials in it is refused", t->what);
    if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && plain_allowed(t->site)))
        return 0;
    kp_fail_as(err, KP_FAILED, t->redirects ? "redirect" : "bad_url", "%s: %s is refused", t->what,
               strcmp(scheme, "http") == 0 ? "plain http" : "what is not an https URL");
    return kp_hint(err, "plain http is used only where the mirrors file names it: to: http://…");
}

char *kp_transfer_host(const struct kp_transfer *t)
{
    return part_of_url(t->url, CURLUPART_HOST);
}

void kp_transfer_go_home(struct kp_transfer *t)
{
    set_url(t, kp_strdup(t->home));
    t->site = t->home_site;
    t->away = false;
    t->redirects = 0;
}

void kp_transfer_begin(struct kp_transfer *t, struct kp_wire *wire,
                       const struct kp_fetch_options *options, struct kp_fetch_job *job)
{
    t->wire = wire;
    t->options = options;
    t->job = job;
    t->body.job = job;
    t->body.cache = options->cache;
    t->home_site = job->site;
    t->home = job->site_given ? kp_strdup(job->url)
                              : kp_mirrors_url(options->mirrors, job->url, &t->home_site);
    kp_reply_reset(&t->answer);
    kp_transfer_go_home(t);
}

int kp_transfer_redirect(struct kp_transfer *t, struct kp_err *err)
{
    kp_auto_free char *next = join_url(t->url, t->answer.location);
    if (!next || t->job->post)
        return kp_fail_as(err, KP_FAILED, "redirect", "%s: HTTP %u without a place to go to",
                          t->what, t->answer.status);
    if (++t->redirects > KP_FETCH_REDIRECTS_MAX)
        return kp_fail_as(err, KP_FAILED, "redirect", "%s: more than %d redirects", t->what,
                          KP_FETCH_REDIRECTS_MAX);
    const struct kp_site *site = NULL;
    char *url = kp_mirrors_url(t->options->mirrors, next, &site);
    kp_transfer_drop(t);
    set_url(t, url);
    t->site = site ? site : t->home_site; // a mirror's own CA is good for where it points to, too
    t->away = t->away || !same_origin(t->home, url);
    return 0;
}

/* --- the answer --------------------------------------------------------------------------- */

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct kp_transfer *t = user;
    struct kp_slice line = {data, size * count};
    if (kp_reply_header(&t->answer, line, time(NULL)))
        return line.len;
    kp_fail_as(&t->sink_error, KP_FAILED, "bad_answer", "%s: the server's headers are too long",
               t->what);
    t->refused = true;
    return 0;
}

bool kp_transfer_success(const struct kp_transfer *t)
{
    unsigned status = t->answer.status;
    return status == 200 || status == 206 || (t->job->any_status && status >= 400);
}

int kp_transfer_body(struct kp_transfer *t, struct kp_err *err)
{
    if (t->begun)
        return 0;
    t->begun = true;
    return kp_body_begin(&t->body, &t->answer, t->what, err);
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct kp_transfer *t = user;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(t->request->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = (unsigned)status;
    if (!kp_transfer_success(t)) {
        // the text of an error page says nothing that its status does not
        t->page_bytes += len;
        return t->page_bytes <= ERROR_PAGE_MAX ? len : 0;
    }
    t->refused = true;
    if (kp_transfer_body(t, &t->sink_error) < 0)
        return 0;
    if (kp_body_write(&t->body, data, len, t->what, &t->sink_error) < 0)
        return 0;
    t->refused = false;
    if (t->moved)
        t->moved(t->user, len);
    return len;
}

/* --- the request -------------------------------------------------------------------------- */

static void add_header(struct kp_transfer *t, const char *name, const char *value)
{
    kp_auto_free char *line = kp_asprintf("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(t->request->headers, line);
    if (!longer)
        abort();
    t->request->headers = longer;
}

static void set_headers(struct kp_transfer *t)
{
    const struct kp_partial *partial = t->body.partial;
    if (t->job->accept)
        add_header(t, "Accept", t->job->accept);
    if (!t->body.have)
        return;
    kp_auto_free char *range = kp_asprintf("bytes=%llu-", (unsigned long long)t->body.have);
    add_header(t, "Range", range);
    if (partial->etag[0])
        add_header(t, "If-Range", partial->etag);
    else if (partial->modified[0])
        add_header(t, "If-Range", partial->modified);
}

/* Credentials are for the origin they were given for, and for no other that a redirect names. */
static void set_credentials(struct kp_transfer *t)
{
    CURL *easy = t->request->easy;
    const struct kp_fetch_auth *auth = &t->job->auth;
    const struct kp_site *site = t->site;
    const char *username = NULL, *password = NULL;
    if (!t->away && auth->bearer) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, auth->bearer);
        return;
    }
    if (!t->away && auth->username) {
        username = auth->username;
        password = auth->password;
    } else if (!t->job->site_given && site && site->username &&
               (!t->away || site != t->home_site)) {
        username = site->username;
        password = site->password;
    }
    if (!username)
        return;
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    curl_easy_setopt(easy, CURLOPT_USERNAME, username);
    curl_easy_setopt(easy, CURLOPT_PASSWORD, password);
}

static void set_limits(struct kp_transfer *t)
{
    CURL *easy = t->request->easy;
    const struct kp_fetch_options *o = t->options;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, plain_allowed(t->site) ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)o->connect_seconds);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)o->low_speed_bytes);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)o->low_speed_seconds);
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)KP_FETCH_SIZE_MAX);
    if (t->site && t->site->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, t->site->ca);
    if (t->site && t->site->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

int kp_transfer_send(struct kp_transfer *t, struct kp_err *err)
{
    if (check_scheme(t, err) < 0)
        return -1;
    t->begun = t->refused = false;
    t->page_bytes = 0;
    t->sink_error = KP_ERR_INIT;
    kp_reply_reset(&t->answer);
    t->request = kp_alloc(sizeof(*t->request));
    CURL *easy = t->request->easy = curl_easy_init();
    if (!easy)
        abort();
    t->wire->running++; // kp_transfer_drop counts down
    curl_easy_setopt(easy, CURLOPT_URL, t->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->request->error);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "kpack/" KP_VERSION);
    // why: HTTP/2 would put all transfers on one connection, and its losses on all of them
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    set_limits(t);
    set_credentials(t);
    set_headers(t);
    curl_easy_setopt(easy, CURLOPT_NOBODY, t->job->head ? 1L : 0L);
    if (t->job->post)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, t->job->post);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->request->headers);
    if (curl_multi_add_handle(t->wire->multi, easy) != CURLM_OK)
        return kp_fail(err, KP_FAILED, "%s: libcurl takes no further transfer", t->job->name);
    return 0;
}

/* --- the end ------------------------------------------------------------------------------ */

/* Translates libcurl's code; *attempts is how many are worth while. */
static int curl_fail(const struct kp_transfer *t, CURLcode code, unsigned *attempts,
                     struct kp_err *err)
{
    static const struct {
        CURLcode code;
        enum kp_network_failure failure;
        unsigned attempts; /* 0: as many as the options say */
    } table[] = {
        {CURLE_PEER_FAILED_VERIFICATION, KP_NET_CERTIFICATE, 1},
        {CURLE_SSL_CACERT_BADFILE, KP_NET_CERTIFICATE, 1},
        {CURLE_SSL_ISSUER_ERROR, KP_NET_CERTIFICATE, 1},
        {CURLE_COULDNT_RESOLVE_HOST, KP_NET_UNRESOLVED, UNRESOLVED_ATTEMPTS},
        {CURLE_COULDNT_RESOLVE_PROXY, KP_NET_UNRESOLVED, UNRESOLVED_ATTEMPTS},
        {CURLE_COULDNT_CONNECT, KP_NET_UNREACHABLE, 0},
        {CURLE_OPERATION_TIMEDOUT, KP_NET_TIMEOUT, 0},
        {CURLE_PARTIAL_FILE, KP_NET_TRUNCATED, 0},
        {CURLE_RECV_ERROR, KP_NET_TRUNCATED, 0},
        {CURLE_GOT_NOTHING, KP_NET_TRUNCATED, 0},
        {CURLE_FILESIZE_EXCEEDED, KP_NET_TOO_LARGE, 1},
    };
    kp_auto_free char *host = kp_transfer_host(t);
    struct kp_network_facts facts = {
        .what = t->what,
        .host = host,
        .why = t->request->error[0] ? t->request->error : curl_easy_strerror(code),
        .have = t->body.have,
        .total = t->job->total_bytes,
    };
    *attempts = t->options->attempts;
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        if (table[i].code != code)
            continue;
        if (table[i].attempts && table[i].attempts < *attempts)
            *attempts = table[i].attempts;
        return kp_network_fail(table[i].failure, &facts, err);
    }
    return kp_network_fail(KP_NET_OTHER, &facts, err);
}

enum kp_transfer_outcome kp_transfer_outcome(struct kp_transfer *t, unsigned *attempts,
                                             struct kp_err *err)
{
    struct kp_fetch_job *job = t->job;
    CURLcode result = t->request->result;
    long status = 0;
    curl_easy_getinfo(t->request->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = job->status = (unsigned)status;
    snprintf(job->content_type, sizeof(job->content_type), "%s", t->answer.content_type);
    snprintf(job->content_digest, sizeof(job->content_digest), "%s", t->answer.content_digest);
    if (t->refused) {
        *err = t->sink_error;
        return KP_TRANSFER_REFUSED;
    }
    if (result == CURLE_OK || t->page_bytes > ERROR_PAGE_MAX)
        return KP_TRANSFER_ANSWERED;
    curl_fail(t, result, attempts, err);
    return KP_TRANSFER_BROKEN;
}
