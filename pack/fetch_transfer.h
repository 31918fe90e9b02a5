/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transfer at a time: where a job's request goes (the mirrors' rewriting, then redirects, which
 * are followed here and not by libcurl), with which credentials and limits, the answer's bytes on
 * their way into a kp_body, and what the end of a request means. The only place that knows libcurl.
 * It never waits, tries again or asks for tokens: that is decided by the engine (fetch_http), the
 * only user.
 *
 *   kp_transfer_begin(t, wire, options, job);
 *   kp_transfer_go_home(t);  kp_transfer_send(t, err);
 *   kp_wire_move(wire, wait, err);  while ((t = kp_wire_ended(wire))) kp_transfer_outcome(t, …);
 */
#pragma once

#include "pack/fetch_body.h"

/* libcurl's connections, shared by all transfers of an engine. */
struct kp_wire;
struct kp_wire *kp_wire_new(unsigned connections);    /* kept open at most */
void kp_wire_free(struct kp_wire *wire);              /* after its transfers */
unsigned kp_wire_running(const struct kp_wire *wire); /* requests that were sent and not dropped */
/* Sends and receives what is possible now. */
KP_CHECK int kp_wire_move(struct kp_wire *wire, struct kp_err *err);
/* Waits for bytes or Ctrl-C, at most so long. */
KP_CHECK int kp_wire_wait(struct kp_wire *wire, double seconds, struct kp_err *err);
/* A transfer whose request has ended, each once; NULL where there is none. */
struct kp_transfer *kp_wire_ended(struct kp_wire *wire);

enum kp_transfer_outcome {
    KP_TRANSFER_ANSWERED, /* the answer is whole: answer.status, body */
    KP_TRANSFER_REFUSED,  /* we broke it off: *err; body.restart says whether to begin anew */
    KP_TRANSFER_BROKEN,   /* the network failed: *err, and how many attempts are worth while */
};

struct kp_transfer {
    const struct kp_fetch_options *options;
    struct kp_fetch_job *job;
    struct kp_body body;
    struct kp_reply answer; /* of the last request */
    char *what; /* "https://dl.k8s.io/x (at https://mirror/x)", without queries; for messages */
    bool away;  /* redirected to another origin than the job's own */
    void (*moved)(void *user, size_t bytes); /* bytes came into the body; may be NULL */
    void *user;
    /* private */
    struct kp_wire *wire;
    char *home; /* the job's URL after the mirrors' rewriting; what follows is of one hop */
    const struct kp_site *home_site;
    char *url;                  /* home, or where a redirect led */
    const struct kp_site *site; /* of url; NULL: nothing special */
    unsigned redirects;
    struct kp_request_handle *request; /* NULL: none was sent */
    size_t page_bytes;                 /* of a body that is not wanted */
    bool begun;                        /* the body's first byte was let through */
    bool refused;                      /* sink_error says why the body was broken off */
    struct kp_err sink_error;
};

/* t must be zeroed before; options, job and wire are borrowed. */
void kp_transfer_begin(struct kp_transfer *t, struct kp_wire *wire,
                       const struct kp_fetch_options *options, struct kp_fetch_job *job);
void kp_transfer_release(struct kp_transfer *t);
/* Back to the job's own URL, after redirects. */
void kp_transfer_go_home(struct kp_transfer *t);
/* Sends the request of the present hop, from body.have on. Reasons: bad_url, redirect. */
KP_CHECK int kp_transfer_send(struct kp_transfer *t, struct kp_err *err);
void kp_transfer_drop(struct kp_transfer *t); /* ends the request, whatever its state */
/* Goes where the answer points; it is still to be sent. Reason: redirect. */
KP_CHECK int kp_transfer_redirect(struct kp_transfer *t, struct kp_err *err);
/* What the end of the request means; the answer's facts are put into the job. */
enum kp_transfer_outcome kp_transfer_outcome(struct kp_transfer *t, unsigned *attempts,
                                             struct kp_err *err);
/* 200, 206, or what the job takes as an answer. */
bool kp_transfer_success(const struct kp_transfer *t);
/* The first byte of a success: sizes and ranges are checked, once. */
KP_CHECK int kp_transfer_body(struct kp_transfer *t, struct kp_err *err);
char *kp_transfer_host(const struct kp_transfer *t); /* where it was asked last; kp_free */
