/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Private to path.c, path_table.c and path_route.c: the parts a verdict is
 * made of. The model is at the head of path.c.
 */
#ifndef P2PBUF_PATH_INTERNAL_H
#define P2PBUF_PATH_INTERNAL_H

#include <linux/pci.h>
#include <linux/types.h>

/**
 * struct path_route - how one BAR is reached from one importer
 * @known: the fields below are filled
 * @live: the BAR decodes its addresses
 * @bus: a common upstream port exists and nothing below it redirects
 * @forwards: what the kernel knows of the host bridge, asked only when needed
 * @deaf: when not @live, the bridge that does not pass memory requests on;
 *	NULL when it is the function itself. Borrowed, the BAR's owner holds it
 * @redirector: the first bridge whose ACS sends peer requests upstream, NULL
 *	when none does. Borrowed from the owner or from the importer
 * @acs: its redirecting ACS control bits
 */
struct path_route {
	bool known;
	bool live;
	bool bus;
	enum { FORWARDS_UNASKED, FORWARDS_NO, FORWARDS_YES } forwards;
	struct pci_dev *deaf;
	struct pci_dev *redirector;
	u16 acs;
};

/**
 * struct path_range - one range of physical addresses that something answers
 * @start: first address
 * @end: last address
 * @owner: function whose BAR this is, with a reference; NULL for RAM
 * @bar: its number
 * @route: filled by path_route_find()
 */
struct path_range {
	u64 start;
	u64 end;
	struct pci_dev *owner;
	int bar;
	struct path_route route;
};

/**
 * struct path_table - all RAM and all BARs, sorted, without overlap
 * @range: the ranges
 * @nr: how many
 * @room: how many fit
 * @last: where the previous look-up ended
 */
struct path_table {
	struct path_range *range;
	size_t nr;
	size_t room;
	size_t last;
};

int path_table_build(struct path_table *table);
void path_table_free(struct path_table *table);
struct path_range *path_table_find(struct path_table *table, u64 addr);

const struct path_route *path_route_find(struct path_range *range,
					 struct pci_dev *importer);
bool path_route_forwards(struct path_range *range, struct pci_dev *importer);
struct pci_dev *path_route_host_bridge(struct pci_dev *pdev);

#endif /* P2PBUF_PATH_INTERNAL_H */
