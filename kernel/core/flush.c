// SPDX-License-Identifier: GPL-2.0
/*
 * Flush: make what a device wrote visible in the exporter's device.
 *
 * Data that one device writes to another's BAR and the completion it writes to
 * host memory go different ways and are not ordered against each other: when
 * the interrupt arrives, the data may still wait in a switch. A read of the
 * same BAR takes the way of the data, cannot pass posted writes before it
 * (PCI Express Base Specification 6.0, section 2.4.1), and returns when they
 * have arrived.
 *
 * Any page of the BAR will do. The one the buffer first lay in is mapped once
 * and kept: after a move it belongs to somebody else, whose bytes are read and
 * thrown away. Write-combined, as exporters map VRAM: two kinds of mappings of
 * one page must not differ.
 *
 * A mapping may lie partly in a BAR and partly in host memory, in any order.
 * Its path is that of the worse part, and it is flushed for the sake of the
 * other.
 */
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include "core.h"

/* The path was judged: the address leads to a BAR or to RAM. */
static phys_addr_t flush_target(struct device *dev, dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct pci_bus_region region = { .start = addr, .end = addr };
	struct resource res = { .flags = IORESOURCE_MEM };
	phys_addr_t phys;

	if (domain) {
		phys = iommu_iova_to_phys(domain, addr);
		if (phys)
			return phys;
	}
	if (!dev_is_pci(dev))
		return addr;
	pcibios_bus_to_resource(to_pci_dev(dev)->bus, &res, &region);
	return res.start;
}

/* The first page that is none of RAM, or 0. */
static phys_addr_t flush_find(struct device *dev, struct sg_table *sgt)
{
	/* Without translation a segment is one or the other. */
	bool pages = iommu_get_domain_for_dev(dev);
	struct scatterlist *sg;
	phys_addr_t phys;
	u64 at;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		for (at = 0; at < sg_dma_len(sg);
		     at += pages ? PAGE_SIZE : sg_dma_len(sg)) {
			phys = flush_target(dev, sg_dma_address(sg) + at);
			if (!page_is_ram(PHYS_PFN(phys)))
				return phys;
		}
		cond_resched();
	}
	return 0;
}

/* Does any part lie in a BAR? */
bool p2pbuf_flush_needed(const struct p2pbuf_path_info *info)
{
	return info->path != P2PBUF_PATH_SYSTEM ||
	       info->exporter != P2PBUF_PATH_NO_DEVICE;
}

/**
 * p2pbuf_flush_prepare - have something to read for a new mapping
 * @att: the attachment; att->lock and the resv are held
 * @sgt: the mapping
 * @info: its verdict
 *
 * Return: 0, -ENOMEM, or -EFAULT when the BAR of the verdict is not found
 * again. Nothing is needed for host memory.
 */
int p2pbuf_flush_prepare(struct p2pbuf_attachment *att, struct sg_table *sgt,
			 const struct p2pbuf_path_info *info)
{
	struct p2pbuf_flush *flush = &att->flush;
	phys_addr_t phys;

	dma_resv_assert_held(att->dmabuf->resv);
	lockdep_assert_held(&att->lock);

	if (!p2pbuf_flush_needed(info))
		return 0;
	if (flush->page && flush->exporter == info->exporter &&
	    flush->bar == info->exporter_bar)
		return 0;
	p2pbuf_flush_release(att);
	phys = flush_find(att->dev, sgt);
	if (!phys)
		return -EFAULT;
	flush->page = ioremap_wc(phys & PAGE_MASK, PAGE_SIZE);
	if (!flush->page)
		return -ENOMEM;
	flush->exporter = info->exporter;
	flush->bar = info->exporter_bar;
	return 0;
}

/* No mapping is published. */
void p2pbuf_flush_release(struct p2pbuf_attachment *att)
{
	if (att->flush.page)
		iounmap(att->flush.page);
	att->flush.page = NULL;
}

/**
 * p2pbuf_mapping_flush - wait until what was written has arrived
 * @m: the mapping the I/O went through; its active reference is held, or its
 *	fence has not signalled
 *
 * After it, everything the importer's device wrote before its completion was
 * seen is visible in the exporter's device. Costs one read over PCIe.
 *
 * Context: any.
 */
void p2pbuf_mapping_flush(struct p2pbuf_mapping *m)
{
	if (!m->posted)
		return;
	/* A load from write-combined memory may run ahead of older loads. */
	mb();
	readl(m->att->flush.page);
}
EXPORT_SYMBOL_GPL(p2pbuf_mapping_flush);
