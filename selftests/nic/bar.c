// SPDX-License-Identifier: GPL-2.0
/*
 * Fast registrations of BARs.
 *
 * A fast registration is a list of DMA addresses, and rxe keeps the struct page
 * of each. A BAR has none: here the page is but the number of it, which nobody
 * looks into, and what rxe would map is seen through a mapping of the whole BAR.
 * A BAR is mapped when the first address of it is registered and stays so until
 * the module goes.
 */
#include <linux/io.h>
#include <linux/mutex.h>
#include <linux/pci.h>

#include "nic.h"

#define BARS	16

/**
 * struct p2pbuf_nic_bar - a BAR and where the CPU sees it
 * @start: physical address
 * @size: in bytes
 * @p: its mapping
 */
struct p2pbuf_nic_bar {
	phys_addr_t start;
	resource_size_t size;
	void __iomem *p;
};

/* Entries below the number never change; who adds one holds the lock. */
static struct p2pbuf_nic_bar p2pbuf_nic_bars[BARS];
static unsigned int p2pbuf_nic_nr_bars;
static DEFINE_MUTEX(p2pbuf_nic_bars_lock);

static void *p2pbuf_nic_bar_ptr(phys_addr_t phys)
{
	struct p2pbuf_nic_bar *bar;
	unsigned int i, n;

	/* Pairs with the release of who has filled the last entry. */
	n = smp_load_acquire(&p2pbuf_nic_nr_bars);
	for (i = 0; i < n; i++) {
		bar = &p2pbuf_nic_bars[i];
		if (phys >= bar->start && phys - bar->start < bar->size)
			return (void __force *)bar->p + (phys - bar->start);
	}
	return NULL;
}

static bool p2pbuf_nic_find_bar(phys_addr_t phys, struct p2pbuf_nic_bar *bar)
{
	struct pci_dev *pdev = NULL;
	struct resource *r;
	int i;

	for_each_pci_dev(pdev) {
		for (i = 0; i < PCI_STD_NUM_BARS; i++) {
			r = pci_resource_n(pdev, i);
			if (resource_type(r) != IORESOURCE_MEM ||
			    phys < r->start || phys > r->end)
				continue;
			bar->start = r->start;
			bar->size = resource_size(r);
			pci_dev_put(pdev);
			return true;
		}
	}
	return false;
}

static bool p2pbuf_nic_map_bar(phys_addr_t phys)
{
	unsigned int n = p2pbuf_nic_nr_bars;
	struct p2pbuf_nic_bar *bar = &p2pbuf_nic_bars[n];

	lockdep_assert_held(&p2pbuf_nic_bars_lock);

	if (n == BARS || !p2pbuf_nic_find_bar(phys, bar))
		return false;
	bar->p = ioremap_wc(bar->start, bar->size);
	if (!bar->p)
		return false;
	/* The entry is whole before anybody looks at it. */
	smp_store_release(&p2pbuf_nic_nr_bars, n + 1);
	return true;
}

/**
 * p2pbuf_nic_dma_to_page() - the page, or the number of one, behind a DMA address
 * @addr: the address
 *
 * Context: process context for BARs, where it may sleep; any for memory.
 * Return: NULL where there is neither memory nor a BAR.
 */
struct page *p2pbuf_nic_dma_to_page(u64 addr)
{
	phys_addr_t phys = p2pbuf_nic_dma_to_phys(addr);
	bool found;

	if (!phys)
		return NULL;
	if (!pfn_valid(PHYS_PFN(phys)) && !p2pbuf_nic_bar_ptr(phys)) {
		mutex_lock(&p2pbuf_nic_bars_lock);
		found = p2pbuf_nic_bar_ptr(phys) || p2pbuf_nic_map_bar(phys);
		mutex_unlock(&p2pbuf_nic_bars_lock);
		if (!found)
			return NULL;
	}
	return pfn_to_page(PHYS_PFN(phys));
}

/**
 * p2pbuf_nic_page_open() - where the CPU sees a page of p2pbuf_nic_dma_to_page()
 * @page: of memory, or the number of one of a BAR
 *
 * Return: its first byte.
 */
void *p2pbuf_nic_page_open(struct page *page)
{
	unsigned long pfn = page_to_pfn(page);

	return pfn_valid(pfn) ? page_address(page) :
				p2pbuf_nic_bar_ptr(PFN_PHYS(pfn));
}

/* No registration is left. */
void p2pbuf_nic_bars_exit(void)
{
	while (p2pbuf_nic_nr_bars)
		iounmap(p2pbuf_nic_bars[--p2pbuf_nic_nr_bars].p);
}
