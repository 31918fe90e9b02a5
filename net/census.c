/* SPDX-License-Identifier: Apache-2.0 */
#include "net/census.h"

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#define BUCKETS 1024U

struct guest {
    struct guest *next;
    uint8_t key[9];
    unsigned count;
};

struct kp_census {
    pthread_mutex_t lock;
    unsigned limit, per_address, count;
    struct guest *buckets[BUCKETS];
};

struct kp_census *kp_census_new(unsigned total, unsigned per_address)
{
    struct kp_census *census = kp_alloc(sizeof(*census));
    pthread_mutex_init(&census->lock, NULL);
    census->limit = total;
    census->per_address = per_address;
    return census;
}

void kp_census_free(struct kp_census *census)
{
    if (!census)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (census->buckets[i]) {
            struct guest *next = census->buckets[i]->next;
            kp_free(census->buckets[i]);
            census->buckets[i] = next;
        }
    pthread_mutex_destroy(&census->lock);
    kp_free(census);
}

static void key_of(const struct kp_net_address *address, uint8_t key[9])
{
    const struct sockaddr_in *v4 = (const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const void *)&address->storage;
    memset(key, 0, 9);
    if (address->storage.ss_family == AF_INET) {
        memcpy(key + 1, &v4->sin_addr, 4);
        return;
    }
    bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    key[0] = mapped ? 0 : 6;
    memcpy(key + 1, &v6->sin6_addr.s6_addr[mapped ? 12 : 0], mapped ? 4 : 8);
}

static struct guest **find_guest(struct kp_census *census, const uint8_t key[9])
{
    unsigned hash = 5381;
    for (size_t i = 0; i < 9; i++)
        hash = hash * 33U ^ key[i];
    struct guest **link = &census->buckets[hash % BUCKETS];
    while (*link && memcmp((*link)->key, key, 9) != 0)
        link = &(*link)->next;
    return link;
}

bool kp_census_enter(struct kp_census *census, const struct kp_net_address *address)
{
    uint8_t key[9];
    key_of(address, key);
    pthread_mutex_lock(&census->lock);
    struct guest **link = find_guest(census, key);
    unsigned have = *link ? (*link)->count : 0;
    bool ok = census->count < census->limit && (!census->per_address || have < census->per_address);
    if (ok && !*link) {
        *link = kp_alloc(sizeof(**link));
        memcpy((*link)->key, key, 9);
    }
    if (ok) {
        (*link)->count++;
        census->count++;
    }
    pthread_mutex_unlock(&census->lock);
    return ok;
}

void kp_census_leave(struct kp_census *census, const struct kp_net_address *address)
{
    uint8_t key[9];
    key_of(address, key);
    pthread_mutex_lock(&census->lock);
    struct guest **link = find_guest(census, key), *guest = *link;
    if (guest) {
        census->count--;
        if (--guest->count == 0) {
            *link = guest->next;
            kp_free(guest);
        }
    }
    pthread_mutex_unlock(&census->lock);
}
