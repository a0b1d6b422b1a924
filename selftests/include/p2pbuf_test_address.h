/* SPDX-License-Identifier: GPL-2.0 */
/* What a reply tells of addresses: nothing, or the test that looks fails. */
#ifndef P2PBUF_TEST_ADDRESS_H
#define P2PBUF_TEST_ADDRESS_H

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drm/p2pbuf_drm.h>

/* Where the BAR lies: what nobody may learn. */
static inline int pta_bar_range(const struct drm_p2pbuf_device_info *info,
				__u64 *start, __u64 *end)
{
	char path[128], line[128];
	unsigned int i;
	int ret = -1;
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%04x:%02x:%02x.%x/resource",
		 info->pci >> 16, info->pci >> 8 & 0xff, info->pci >> 3 & 0x1f,
		 info->pci & 7);
	*start = 0;
	*end = 0;
	f = fopen(path, "r");
	if (!f)
		return -1;
	for (i = 0; fgets(line, sizeof(line), f); i++) {
		unsigned long long a, b;

		if (i == info->bar && sscanf(line, "%llx %llx", &a, &b) == 2) {
			*start = a;
			*end = b;
			ret = a ? 0 : -1;
		}
	}
	fclose(f);
	return ret;
}

/* Something in a reply that is an address of the kernel's or of the BAR's. */
static inline bool pta_is_address(__u64 v, __u64 start, __u64 end)
{
	return (v >= 0xff00000000000000ULL && v < -4095ULL) ||
	       (v >= start && v <= end);
}

static inline unsigned int pta_addresses(const void *reply, size_t size,
					 __u64 start, __u64 end)
{
	unsigned int found = 0;
	size_t i;
	__u64 v;

	for (i = 0; i + sizeof(v) <= size; i += 4) {
		memcpy(&v, (const char *)reply + i, sizeof(v));
		found += pta_is_address(v, start, end);
	}
	return found;
}

/* In text: each run of hexadecimal digits. */
static inline unsigned int pta_addresses_in_text(const char *path, __u64 start,
						 __u64 end)
{
	unsigned int found = 0;
	char line[1024], *p, *next;
	FILE *f = fopen(path, "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		for (p = line; *p; p = next) {
			if (!isxdigit(*p)) {
				next = p + 1;
				continue;
			}
			found += pta_is_address(strtoull(p, &next, 16), start,
						end);
		}
	}
	fclose(f);
	return found;
}

#endif /* P2PBUF_TEST_ADDRESS_H */
