/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef P2PBUF_WHY_H
#define P2PBUF_WHY_H

#include <stdio.h>

/*
 * Tell people whether the importer's device can reach the exporter's BAR, by
 * which path, and what stands in the way: from sysfs and /proc/cpuinfo alone,
 * without the p2pbuf modules and without root. What may not be read is called
 * unknown, never absent.
 *
 * Devices are PCI addresses, "0000:03:00.0" or "03:00.0". The last line
 * written to @out starts with "verdict: bus", "verdict: bridge",
 * "verdict: refused" or "verdict: unknown".
 *
 * Returns 0, or -errno after a line on stderr: -EINVAL for what is no PCI
 * address, -ENODEV for a function that is not there.
 */
int p2pbuf_why(const char *exporter, const char *importer, FILE *out);

#endif /* P2PBUF_WHY_H */
