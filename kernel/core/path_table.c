// SPDX-License-Identifier: GPL-2.0
/*
 * Everything in the physical address space that answers: RAM and BARs.
 *
 * The table is built for each verdict and thrown away with it: building takes
 * some 13 thousand instructions, which is less than the mapping it judges, and
 * a table that outlives the verdict would have to follow hotplug. It holds a
 * reference on the owner of each BAR, so a function that is unplugged
 * meanwhile stays a valid pointer and reads as dead.
 *
 * Only BARs that the kernel has claimed are in it (resource->parent): two
 * claimed resources never overlap, which is what the binary search relies on.
 * A virtual function is listed with its own slice of the VF BAR; slices of
 * virtual functions that are not enabled are holes.
 */
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "path.h"

static struct path_range *path_table_add(struct path_table *table, u64 start,
					 u64 end)
{
	struct path_range *range;

	if (table->nr == table->room) {
		size_t room = table->room ? 2 * table->room : 64;

		range = kvrealloc(table->range, array_size(room, sizeof(*range)),
				  GFP_KERNEL);
		if (!range)
			return NULL;
		table->range = range;
		table->room = room;
	}

	range = &table->range[table->nr++];
	*range = (struct path_range){ .start = start, .end = end };
	return range;
}

/* Called without the resource lock: walk_iomem_res_desc() hands out copies. */
static int path_table_add_ram(struct resource *res, void *arg)
{
	struct path_table *table = arg;
	struct path_range *prev = NULL;

	/* Hotplugged blocks follow each other; a buffer may span them. */
	if (table->nr)
		prev = &table->range[table->nr - 1];
	if (prev && prev->end + 1 == res->start) {
		prev->end = res->end;
		return 0;
	}
	return path_table_add(table, res->start, res->end) ? 0 : -ENOMEM;
}

static int path_table_add_bars(struct path_table *table, struct pci_dev *pdev)
{
	int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		const struct resource *res = pci_resource_n(pdev, bar);
		struct path_range *range;

		if (!(res->flags & IORESOURCE_MEM) ||
		    (res->flags & IORESOURCE_UNSET) || !res->parent)
			continue;

		range = path_table_add(table, res->start, res->end);
		if (!range)
			return -ENOMEM;
		range->owner = pci_dev_get(pdev);
		range->bar = bar;
	}
	return 0;
}

static int path_range_cmp(const void *a, const void *b)
{
	const struct path_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/**
 * path_table_build - list what answers in the physical address space
 * @table: zeroed; filled, to be freed with path_table_free()
 *
 * Context: may sleep and allocate. Takes no lock that sleeps, in particular
 * not pci_bus_sem: error recovery holds that around calls into drivers, which
 * may want the resv we are called under.
 *
 * Return: 0 or -ENOMEM; nothing is left to free then.
 */
int path_table_build(struct path_table *table)
{
	struct pci_dev *pdev = NULL;
	int ret;

	/* -EINVAL only says that there was nothing to walk. */
	ret = walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM, 0,
				  U64_MAX, table, path_table_add_ram);
	if (ret == -ENOMEM)
		goto free_table;

	for_each_pci_dev(pdev) {
		ret = path_table_add_bars(table, pdev);
		if (ret) {
			pci_dev_put(pdev);
			goto free_table;
		}
	}

	sort(table->range, table->nr, sizeof(*table->range), path_range_cmp,
	     NULL);
	return 0;

free_table:
	path_table_free(table);
	return ret;
}

void path_table_free(struct path_table *table)
{
	size_t i;

	for (i = 0; i < table->nr; i++)
		pci_dev_put(table->range[i].owner);
	kvfree(table->range);
	*table = (struct path_table){ };
}

/**
 * path_table_find - what answers at an address?
 * @table: the table
 * @addr: physical address
 *
 * Return: the range that holds @addr, valid as long as the table, or NULL.
 */
struct path_range *path_table_find(struct path_table *table, u64 addr)
{
	size_t low = 0, high = table->nr;

	if (table->last < table->nr) {
		struct path_range *range = &table->range[table->last];

		if (addr >= range->start && addr <= range->end)
			return range;
	}

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct path_range *range = &table->range[mid];

		if (addr < range->start) {
			high = mid;
		} else if (addr > range->end) {
			low = mid + 1;
		} else {
			table->last = mid;
			return range;
		}
	}
	return NULL;
}
