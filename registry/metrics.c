/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/metrics.h"

static const unsigned codes[KP_METRICS_CODES - 1] = {200, 206, 304, 400, 404, 405,
                                                     408, 414, 416, 431, 501};

static size_t slot_of(unsigned status)
{
    size_t i = 0;
    while (i < KP_COUNT(codes) && codes[i] != status)
        i++;
    return i;
}

void kp_metrics_count(struct kp_metrics *metrics, enum kp_route route, unsigned status,
                      uint64_t bytes, bool complete)
{
    __atomic_add_fetch(&metrics->requests[route][slot_of(status)], 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&metrics->bytes[route], bytes, __ATOMIC_RELAXED);
    if (!complete)
        __atomic_add_fetch(&metrics->aborted, 1, __ATOMIC_RELAXED);
}

static uint64_t load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void put_head(struct kp_buf *out, const char *name, const char *type, const char *help)
{
    kp_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_one(struct kp_buf *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    put_head(out, name, type, help);
    kp_buf_addf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void put_requests(const struct kp_metrics *metrics, struct kp_buf *out)
{
    put_head(out, "kregistry_requests_total", "counter", "Requests by route and status code.");
    for (enum kp_route r = 0; r < KP_ROUTE_COUNT; r++)
        for (size_t i = 0; i < KP_METRICS_CODES; i++) {
            uint64_t n = load(&metrics->requests[r][i]);
            if (!n)
                continue;
            kp_buf_addf(out, "kregistry_requests_total{route=\"%s\",code=\"", kp_route_name(r));
            if (i < KP_COUNT(codes))
                kp_buf_addf(out, "%u", codes[i]);
            else
                kp_buf_adds(out, "other");
            kp_buf_addf(out, "\"} %llu\n", (unsigned long long)n);
        }
    put_head(out, "kregistry_sent_bytes_total", "counter", "Body bytes sent by route.");
    for (enum kp_route r = 0; r < KP_ROUTE_COUNT; r++)
        if (load(&metrics->bytes[r]))
            kp_buf_addf(out, "kregistry_sent_bytes_total{route=\"%s\"} %llu\n", kp_route_name(r),
                        (unsigned long long)load(&metrics->bytes[r]));
}

static void put_bundles(const struct kp_catalog *catalog, struct kp_buf *out)
{
    put_head(out, "kregistry_bundle_info", "gauge", "Bundles that are served.");
    for (size_t i = 0; i < kp_catalog_offers(catalog); i++) {
        const struct kp_manifest *m = kp_catalog_offer(catalog, i)->manifest;
        kp_buf_addf(out, "kregistry_bundle_info{name=\"%s\",serial=\"%llu\",id=\"%s\"} 1\n",
                    m->name, (unsigned long long)m->serial, kp_digest_hex(&m->id).hex);
    }
}

void kp_metrics_format(const struct kp_metrics *metrics, const struct kp_catalog *catalog,
                       const struct kp_http_counters *http,
                       const struct kp_checker_counters *checks, struct kp_buf *out)
{
    put_requests(metrics, out);
    put_one(out, "kregistry_aborted_total", "counter", "Replies that were cut off.",
            load(&metrics->aborted));
    put_one(out, "kregistry_connections", "gauge", "Connections now.", http->open);
    put_one(out, "kregistry_connections_total", "counter", "Connections accepted.", http->accepted);
    put_one(out, "kregistry_connections_refused_total", "counter", "Connections over a limit.",
            http->refused);
    put_one(out, "kregistry_entries", "gauge", "Entries of all bundles.", checks->entries);
    put_one(out, "kregistry_verified_entries", "gauge", "Entries found good.", checks->good);
    put_one(out, "kregistry_damaged_entries", "gauge", "Entries found damaged or unreadable.",
            checks->bad);
    put_one(out, "kregistry_verified_bytes_total", "counter", "Bytes hashed.", checks->bytes);
    put_one(out, "kregistry_medium_doubts_total", "counter",
            "Times that a medium was changed, pulled out or could not be read.", checks->doubts);
    put_bundles(catalog, out);
}
