/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/fetch_http.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "pack/fetch_body.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RECEIVE_BUFFER (256L << 10)
#define BUSY_POLL 0.25
#define SHOW_EVERY 0.1
#define POLL_MOST 1.0
#define CHALLENGES_MAX 3
#define UNRESOLVED_ATTEMPTS 2
#define ERROR_PAGE_MAX ((size_t)64 << 10)
#define PROGRESS_LEAST ((uint64_t)64 << 10) /* so many new bytes make the attempts count from 0 */

enum state {
    QUEUED,  /* waits for a free place */
    ASKING,  /* its authority fetches a token */
    WAITING, /* until wake_at: backoff, or another process has the partial file */
    RUNNING,
    ENDED, /* freed by the loop */
};

struct kp_transfer {
    struct kp_transfer *next;
    struct kp_fetch *fetch;
    struct kp_fetch_job *job;
    enum state state;
    double wake_at, shown_at;
    bool authorised, started, noted_busy;
    unsigned attempts, challenges;
    uint64_t best; /* most bytes that any attempt had */
    struct kp_body body;
    char *home; /* the job's URL after the mirrors' rewriting; what follows is of one hop */
    const struct kp_site *home_site;
    char *url;                  /* home, or where a redirect led */
    const struct kp_site *site; /* of url; NULL: nothing special */
    bool away;                  /* url is not of home's origin */
    unsigned redirects;
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    struct kp_reply answer;
    size_t page_bytes; /* of a body that is not wanted */
    bool begun;        /* the body's first byte was let through */
    bool failed;       /* sink_error says why the body was broken off */
    struct kp_err sink_error;
};

struct kp_fetch {
    struct kp_fetch_options options;
    CURLM *multi;
    struct kp_transfer *first, **last;
    unsigned running;
    struct kp_fetch_totals totals;
};

static void or_default(unsigned *value, unsigned fallback)
{
    *value = *value ? *value : fallback;
}

struct kp_fetch *kp_fetch_new(const struct kp_fetch_options *options)
{
    struct kp_fetch *fetch = kp_alloc(sizeof(*fetch));
    struct kp_fetch_options *o = &fetch->options;
    *o = *options;
    o->jobs = o->jobs > KP_FETCH_JOBS_MAX ? KP_FETCH_JOBS_MAX : o->jobs;
    or_default(&o->jobs, KP_FETCH_JOBS);
    or_default(&o->attempts, 6);
    or_default(&o->low_speed_bytes, 1024);
    or_default(&o->low_speed_seconds, 30);
    or_default(&o->connect_seconds, 20);
    o->backoff = o->backoff > 0 ? o->backoff : 0.5;
    o->retry_after_max = o->retry_after_max > 0 ? o->retry_after_max : 120;
    fetch->last = &fetch->first;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(fetch->multi = curl_multi_init()))
        abort(); // only out of memory gets here
    curl_multi_setopt(fetch->multi, CURLMOPT_MAXCONNECTS, (long)o->jobs * 2);
    return fetch;
}

const struct kp_fetch_options *kp_fetch_options(const struct kp_fetch *fetch)
{
    return &fetch->options;
}

struct kp_fetch_totals kp_fetch_totals(const struct kp_fetch *fetch)
{
    return fetch->totals;
}

/* --- one transfer ------------------------------------------------------------------------- */

static void drop_easy(struct kp_transfer *t)
{
    if (t->easy) {
        curl_multi_remove_handle(t->fetch->multi, t->easy);
        curl_easy_cleanup(t->easy);
        t->fetch->running--;
    }
    curl_slist_free_all(t->headers);
    t->easy = NULL;
    t->headers = NULL;
}

static void free_transfer(struct kp_transfer *t)
{
    drop_easy(t);
    kp_body_release(&t->body);
    kp_reply_release(&t->answer);
    kp_free(t->home);
    kp_free(t->url);
    kp_free(t);
}

static void drop_all(struct kp_fetch *fetch)
{
    while (fetch->first) {
        struct kp_transfer *t = fetch->first;
        fetch->first = t->next;
        if (t->state != ENDED) {
            t->job->transfer = NULL;
            kp_buf_release(&t->job->body); // nobody will be told of it
        }
        free_transfer(t);
    }
    fetch->last = &fetch->first;
}

void kp_fetch_free(struct kp_fetch *fetch)
{
    if (!fetch)
        return;
    drop_all(fetch);
    curl_multi_cleanup(fetch->multi);
    curl_global_cleanup();
    kp_free(fetch);
}

void kp_fetch_add(struct kp_fetch *fetch, struct kp_fetch_job *job)
{
    struct kp_transfer *t = kp_alloc(sizeof(*t));
    t->fetch = fetch;
    t->job = job;
    t->body.job = job;
    t->body.cache = fetch->options.cache;
    t->home_site = job->site;
    t->home = job->site_given ? kp_strdup(job->url)
                              : kp_mirrors_url(fetch->options.mirrors, job->url, &t->home_site);
    kp_reply_reset(&t->answer);
    job->transfer = t;
    *fetch->last = t;
    fetch->last = &t->next;
}

void kp_fetch_wake(struct kp_fetch *fetch, struct kp_fetch_job *job)
{
    (void)fetch;
    if (job->transfer && job->transfer->state == ASKING)
        job->transfer->state = QUEUED;
}

static void note(const struct kp_transfer *t, const char *text)
{
    const struct kp_fetch_watch *watch = &t->fetch->options.watch;
    if (watch->note && !t->job->quiet)
        watch->note(watch->user, t->job, text);
}

/* "https://dl.k8s.io/x", with where it was really asked for. */
static char *what_of(const struct kp_transfer *t)
{
    kp_auto_free char *wanted = kp_url_shown(t->job->url);
    kp_auto_free char *asked = kp_url_shown(t->url ? t->url : t->home);
    if (strcmp(wanted, asked) == 0)
        return kp_strdup(wanted);
    return kp_asprintf("%s (at %s)", wanted, asked);
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
    kp_auto_free char *what = what_of(t);
    if (*user)
        return kp_fail_as(err, KP_FAILED, t->redirects ? "redirect" : "bad_url",
                          "%s: a URL with credentials in it is refused", what);
    if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && plain_allowed(t->site)))
        return 0;
    kp_fail_as(err, KP_FAILED, t->redirects ? "redirect" : "bad_url", "%s: %s is refused", what,
               strcmp(scheme, "http") == 0 ? "plain http" : "what is not an https URL");
    return kp_hint(err, "plain http is used only where the mirrors file names it: to: http://…");
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct kp_transfer *t = user;
    struct kp_slice line = {data, size * count};
    if (kp_reply_header(&t->answer, line, time(NULL)))
        return line.len;
    kp_auto_free char *what = what_of(t);
    kp_fail_as(&t->sink_error, KP_FAILED, "bad_answer", "%s: the server's headers are too long",
               what);
    t->failed = true;
    return 0;
}

static bool is_success(const struct kp_transfer *t)
{
    unsigned status = t->answer.status;
    return status == 200 || status == 206 || (t->job->any_status && status >= 400);
}

static int begin_body(struct kp_transfer *t, struct kp_err *err)
{
    if (t->begun)
        return 0;
    kp_auto_free char *what = what_of(t);
    t->begun = true;
    return kp_body_begin(&t->body, &t->answer, what, err);
}

static void show_moved(struct kp_transfer *t, bool always)
{
    const struct kp_fetch_watch *watch = &t->fetch->options.watch;
    double now = kp_now();
    if (!watch->moved || t->job->quiet || (!always && now - t->shown_at < SHOW_EVERY))
        return;
    t->shown_at = now;
    watch->moved(watch->user, t->job);
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct kp_transfer *t = user;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = (unsigned)status;
    if (!is_success(t)) { // the text of an error page says nothing that its status does not
        t->page_bytes += len;
        return t->page_bytes <= ERROR_PAGE_MAX ? len : 0;
    }
    t->failed = true;
    if (begin_body(t, &t->sink_error) < 0)
        return 0;
    kp_auto_free char *what = what_of(t);
    if (kp_body_write(&t->body, data, len, what, &t->sink_error) < 0)
        return 0;
    t->failed = false;
    if (!t->job->quiet)
        t->fetch->totals.fetched += len;
    show_moved(t, false);
    return len;
}

static void add_header(struct kp_transfer *t, const char *name, const char *value)
{
    kp_auto_free char *line = kp_asprintf("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    if (!longer)
        abort();
    t->headers = longer;
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
    const struct kp_fetch_auth *auth = &t->job->auth;
    const struct kp_site *site = t->site;
    const char *username = NULL, *password = NULL;
    if (!t->away && auth->bearer) {
        curl_easy_setopt(t->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(t->easy, CURLOPT_XOAUTH2_BEARER, auth->bearer);
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
    curl_easy_setopt(t->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    curl_easy_setopt(t->easy, CURLOPT_USERNAME, username);
    curl_easy_setopt(t->easy, CURLOPT_PASSWORD, password);
}

static void set_limits(struct kp_transfer *t)
{
    const struct kp_fetch_options *o = &t->fetch->options;
    curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR,
                     plain_allowed(t->site) ? "http,https" : "https");
    curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT, (long)o->connect_seconds);
    curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, (long)o->low_speed_bytes);
    curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME, (long)o->low_speed_seconds);
    curl_easy_setopt(t->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)KP_FETCH_SIZE_MAX);
    if (t->site && t->site->ca)
        curl_easy_setopt(t->easy, CURLOPT_CAINFO, t->site->ca);
    if (t->site && t->site->insecure) {
        curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

/* Sends the request of the present hop. */
static int send_request(struct kp_transfer *t, struct kp_err *err)
{
    if (check_scheme(t, err) < 0)
        return -1;
    t->begun = t->failed = false;
    t->page_bytes = 0;
    t->sink_error = KP_ERR_INIT;
    t->error[0] = '\0';
    kp_reply_reset(&t->answer);
    t->easy = curl_easy_init();
    if (!t->easy)
        abort();
    t->fetch->running++; // drop_easy counts down
    curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(t->easy, CURLOPT_USERAGENT, "kpack/" KP_VERSION);
    // why: HTTP/2 would put all transfers on one connection, and its losses on all of them
    curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
    curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    set_limits(t);
    set_credentials(t);
    set_headers(t);
    curl_easy_setopt(t->easy, CURLOPT_NOBODY, t->job->head ? 1L : 0L);
    if (t->job->post)
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->job->post);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    if (curl_multi_add_handle(t->fetch->multi, t->easy) != CURLM_OK)
        return kp_fail(err, KP_FAILED, "%s: libcurl takes no further transfer", t->job->name);
    t->fetch->totals.requests++;
    t->state = RUNNING;
    return 0;
}

static void go_home(struct kp_transfer *t)
{
    kp_free(t->url);
    t->url = kp_strdup(t->home);
    t->site = t->home_site;
    t->away = false;
    t->redirects = 0;
}

/* job and its memory are the callbacks' from here on: nothing may touch them afterwards. */
static int end_well(struct kp_transfer *t, struct kp_err *err)
{
    const struct kp_fetch_watch *watch = &t->fetch->options.watch;
    struct kp_fetch_job *job = t->job;
    drop_easy(t);
    kp_body_release(&t->body);
    if (!job->cached)
        show_moved(t, true);
    t->state = ENDED;
    job->transfer = NULL;
    if (watch->finished && !job->quiet)
        watch->finished(watch->user, job, true);
    return job->done ? job->done(job->user, job, err) : 0;
}

static int end_badly(struct kp_transfer *t, struct kp_err *err)
{
    const struct kp_fetch_watch *watch = &t->fetch->options.watch;
    struct kp_fetch_job *job = t->job;
    drop_easy(t);
    kp_body_release(&t->body);
    t->state = ENDED;
    job->transfer = NULL;
    if (watch->finished && !job->quiet)
        watch->finished(watch->user, job, false);
    return job->failed ? job->failed(job->user, job, err) : -1;
}

/* Queues the transfer anew after a wait, or ends it with *err where it had its chances. */
static int try_again(struct kp_transfer *t, unsigned attempts, struct kp_err *err)
{
    double asked = t->answer.retry_after;
    drop_easy(t);
    if (t->body.have > t->best + PROGRESS_LEAST)
        t->attempts = 0;
    if (t->body.have > t->best)
        t->best = t->body.have;
    if (++t->attempts >= attempts) {
        if (attempts > 1)
            kp_wrap(err, "after %u attempts", t->attempts);
        return end_badly(t, err);
    }
    if (asked > t->fetch->options.retry_after_max) {
        kp_auto_free char *what = what_of(t);
        kp_fail_as(err, KP_FAILED, "rate_limited",
                   "%s: HTTP %u, the server asks to come back in %s", what, t->answer.status,
                   kp_text_seconds(asked).s);
        kp_hint(err, "run again then (what was fetched is kept), log in, or use a mirror");
        return end_badly(t, err);
    }
    double wait = asked >= 0 ? asked : kp_backoff(t->fetch->options.backoff, t->attempts);
    t->fetch->totals.retries++;
    t->wake_at = kp_now() + wait;
    t->state = WAITING;
    t->authorised = false;
    kp_auto_free char *text = kp_asprintf("again in %s: %s", kp_text_seconds(wait).s, err->message);
    note(t, text);
    // why: memory is cheap to fetch again, and a document has no validators here
    return t->job->to_memory ? kp_body_reset(&t->body, err) : 0;
}

/* What is there does not fit what the server has: once more, from byte 0. */
static int start_over(struct kp_transfer *t, struct kp_err *err)
{
    drop_easy(t);
    note(t, "what was there is of another version: from the beginning");
    t->state = QUEUED;
    t->authorised = false;
    return kp_body_reset(&t->body, err) < 0 ? end_badly(t, err) : 0;
}

static int finish_body(struct kp_transfer *t, struct kp_err *err)
{
    kp_auto_free char *what = what_of(t);
    if (kp_body_finish(&t->body, what, err) == 0)
        return end_well(t, err);
    return t->body.restart ? start_over(t, err) : end_badly(t, err);
}

static int follow_redirect(struct kp_transfer *t, struct kp_err *err)
{
    kp_auto_free char *next = join_url(t->url, t->answer.location);
    kp_auto_free char *what = what_of(t);
    if (!next || t->job->post) {
        kp_fail_as(err, KP_FAILED, "redirect", "%s: HTTP %u without a place to go to", what,
                   t->answer.status);
        return end_badly(t, err);
    }
    if (++t->redirects > KP_FETCH_REDIRECTS_MAX) {
        kp_fail_as(err, KP_FAILED, "redirect", "%s: more than %d redirects", what,
                   KP_FETCH_REDIRECTS_MAX);
        return end_badly(t, err);
    }
    const struct kp_site *site = NULL;
    char *url = kp_mirrors_url(t->fetch->options.mirrors, next, &site);
    drop_easy(t);
    kp_free(t->url);
    t->url = url;
    t->site = site ? site : t->home_site; // a mirror's own CA is good for where it points to, too
    t->away = t->away || !same_origin(t->home, url);
    return send_request(t, err) < 0 ? end_badly(t, err) : 0;
}

static int answer_challenge(struct kp_transfer *t, struct kp_err *err)
{
    const struct kp_fetch_authority *authority = t->job->authority;
    kp_auto_free char *what = what_of(t);
    kp_auto_free char *host = part_of_url(t->url, CURLUPART_HOST);
    kp_auto_free char *challenge =
        kp_strdup(t->answer.challenge.len ? t->answer.challenge.data : "");
    drop_easy(t);
    if (t->away || !authority || ++t->challenges > CHALLENGES_MAX) {
        kp_status_fail(401, what, host, err);
        return end_badly(t, err);
    }
    bool ready = false;
    t->state = ASKING; // ask may wake it at once
    if (authority->ask(authority->user, t->job, challenge, &ready, err) < 0)
        return end_badly(t, err);
    if (ready) {
        t->state = QUEUED;
        t->authorised = true;
    }
    return 0;
}

static int end_with_status(struct kp_transfer *t, struct kp_err *err)
{
    unsigned status = t->answer.status;
    kp_auto_free char *what = what_of(t);
    kp_auto_free char *host = part_of_url(t->url, CURLUPART_HOST);
    if (status == 401 && t->job->authority)
        return answer_challenge(t, err);
    if (kp_status_passing(status)) {
        kp_status_fail(status, what, host, err);
        return try_again(t, t->fetch->options.attempts, err);
    }
    if (kp_status_redirect(status))
        return follow_redirect(t, err);
    if (status == 416 && t->body.have) {
        if (t->answer.range_total && t->answer.range_total == t->body.have)
            return finish_body(t, err);
        return start_over(t, err);
    }
    if (is_success(t)) {
        if (begin_body(t, err) == 0)
            return finish_body(t, err);
        return t->body.restart ? start_over(t, err) : end_badly(t, err);
    }
    kp_status_fail(status, what, host, err);
    return end_badly(t, err);
}

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
    kp_auto_free char *what = what_of(t);
    kp_auto_free char *host = part_of_url(t->url, CURLUPART_HOST);
    struct kp_network_facts facts = {
        .what = what,
        .host = host,
        .why = t->error[0] ? t->error : curl_easy_strerror(code),
        .have = t->body.have,
        .total = t->job->total_bytes,
    };
    *attempts = t->fetch->options.attempts;
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        if (table[i].code != code)
            continue;
        if (table[i].attempts && table[i].attempts < *attempts)
            *attempts = table[i].attempts;
        return kp_network_fail(table[i].failure, &facts, err);
    }
    return kp_network_fail(KP_NET_OTHER, &facts, err);
}

static int end_transfer(struct kp_transfer *t, CURLcode code, struct kp_err *err)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = t->job->status = (unsigned)status;
    snprintf(t->job->content_type, sizeof(t->job->content_type), "%s", t->answer.content_type);
    snprintf(t->job->content_digest, sizeof(t->job->content_digest), "%s",
             t->answer.content_digest);
    if (t->failed) {
        *err = t->sink_error;
        return t->body.restart ? start_over(t, err) : end_badly(t, err);
    }
    if (code == CURLE_OK || t->page_bytes > ERROR_PAGE_MAX)
        return end_with_status(t, err);
    unsigned attempts;
    curl_fail(t, code, &attempts, err);
    return try_again(t, attempts, err);
}

/* --- the loop ----------------------------------------------------------------------------- */

static int open_body(struct kp_transfer *t, struct kp_err *err)
{
    enum kp_body_state state;
    if (kp_body_open(&t->body, &state, err) < 0)
        return end_badly(t, err);
    if (state == KP_BODY_THERE)
        return end_well(t, err);
    if (state == KP_BODY_READY) {
        if (t->job->size && t->body.have == t->job->size && t->job->expected)
            return finish_body(t, err);
        return 0;
    }
    if (!t->noted_busy)
        note(t, "another kpack fetches it: waiting for that");
    t->noted_busy = true;
    t->wake_at = kp_now() + BUSY_POLL;
    t->state = WAITING;
    return 0;
}

static int ask_authority(struct kp_transfer *t, struct kp_err *err)
{
    const struct kp_fetch_authority *authority = t->job->authority;
    if (!authority || t->authorised)
        return 0;
    bool ready = false;
    t->state = ASKING;
    if (authority->ask(authority->user, t->job, NULL, &ready, err) < 0)
        return end_badly(t, err);
    if (ready)
        t->state = QUEUED;
    t->authorised = ready;
    return 0;
}

static int start(struct kp_transfer *t, struct kp_err *err)
{
    const struct kp_fetch_watch *watch = &t->fetch->options.watch;
    struct kp_fetch_job *job = t->job;
    uint64_t size;
    if (!job->to_memory && job->expected && !t->body.partial &&
        kp_cache_has(t->fetch->options.cache, job->expected, &size)) {
        job->digest = *job->expected;
        job->got = job->done_bytes = job->total_bytes = size;
        job->cached = true;
        return end_well(t, err);
    }
    if (!t->body.partial && (!job->to_memory || !t->body.hash) && open_body(t, err) < 0)
        return -1;
    if (t->state == QUEUED && ask_authority(t, err) < 0)
        return -1;
    if (t->state != QUEUED)
        return 0;
    if (!t->started && watch->started && !job->quiet)
        watch->started(watch->user, job);
    t->started = true;
    job->done_bytes = t->body.have;
    go_home(t);
    return send_request(t, err) < 0 ? end_badly(t, err) : 0;
}

/* Token requests and small documents first: others wait for them. */
static int start_queued(struct kp_fetch *fetch, struct kp_err *err)
{
    double now = kp_now();
    for (int pass = 0; pass < 2; pass++)
        for (struct kp_transfer *t = fetch->first; t; t = t->next) {
            if (t->state == WAITING && t->wake_at <= now)
                t->state = QUEUED;
            if (t->state != QUEUED || (pass == 0 && !t->job->quiet))
                continue;
            if (fetch->running >= fetch->options.jobs)
                return 0;
            if (start(t, err) < 0)
                return -1;
        }
    return 0;
}

static int take_ended(struct kp_fetch *fetch, struct kp_err *err)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(fetch->multi, &left))) {
        struct kp_transfer *t = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
        if (end_transfer(t, code, err) < 0)
            return -1;
    }
    return 0;
}

static void sweep(struct kp_fetch *fetch)
{
    struct kp_transfer **at = &fetch->first;
    while (*at) {
        struct kp_transfer *t = *at;
        if (t->state == ENDED) {
            *at = t->next;
            free_transfer(t);
        } else {
            at = &t->next;
        }
    }
    fetch->last = at;
}

/* Until something can happen: bytes, the next wake-up, Ctrl-C. */
static int wait_for_more(struct kp_fetch *fetch, struct kp_err *err)
{
    double wait = POLL_MOST, now = kp_now();
    for (struct kp_transfer *t = fetch->first; t; t = t->next) {
        if (t->state == QUEUED && fetch->running < fetch->options.jobs)
            return 0;
        if (t->state == WAITING && t->wake_at - now < wait)
            wait = t->wake_at > now ? t->wake_at - now : 0;
    }
    struct curl_waitfd interrupt = {.fd = kp_interrupt_fd(), .events = CURL_WAIT_POLLIN};
    unsigned fds = interrupt.fd >= 0 ? 1 : 0;
    CURLMcode code = curl_multi_poll(fetch->multi, &interrupt, fds, (int)(wait * 1000) + 1, NULL);
    if (code != CURLM_OK)
        return kp_fail(err, KP_FAILED, "waiting for the network: %s", curl_multi_strerror(code));
    return 0;
}

static int run(struct kp_fetch *fetch, struct kp_err *err)
{
    while (fetch->first) {
        int running;
        if (kp_interrupt_check(err) < 0)
            return kp_hint(err, "what was fetched is kept; run the same command again to go on");
        if (start_queued(fetch, err) < 0)
            return -1;
        CURLMcode code = curl_multi_perform(fetch->multi, &running);
        if (code != CURLM_OK)
            return kp_fail(err, KP_FAILED, "transfers: %s", curl_multi_strerror(code));
        if (take_ended(fetch, err) < 0)
            return -1;
        sweep(fetch);
        if (fetch->first && wait_for_more(fetch, err) < 0)
            return -1;
    }
    return 0;
}

int kp_fetch_run(struct kp_fetch *fetch, struct kp_err *err)
{
    struct kp_err own = KP_ERR_INIT; // messages are made of it, also where the caller wants none
    int result = run(fetch, &own);
    if (result < 0)
        drop_all(fetch);
    if (result < 0 && err)
        *err = own;
    return result;
}
