// SPDX-License-Identifier: GPL-2.0
/*
 * The PCI function whose DMA addresses the test NIC uses.
 *
 * It is named when the module is loaded and needs no driver. Nothing is asked
 * of it but its place in the PCI tree and its IOMMU domain.
 */
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI function that does the DMA, as 0000:01:00.0");

/* Found with the first link; links are added one at a time. */
static struct device *p2pbuf_nic_device;

/**
 * p2pbuf_nic_register() - ib_register_device() with the DMA device
 * @dev: the new device
 * @name: of it
 *
 * Return: 0; -ENODEV when there is no such PCI function; an error of the DMA
 * mask or of the registration.
 */
int p2pbuf_nic_register(struct ib_device *dev, const char *name)
{
	int ret;

	if (!p2pbuf_nic_device && device)
		p2pbuf_nic_device = bus_find_device_by_name(&pci_bus_type, NULL,
							    device);
	if (!p2pbuf_nic_device)
		return -ENODEV;

	ret = dma_set_mask_and_coherent(p2pbuf_nic_device, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	p2pbuf_nic_refuse_init(dev);
	return ib_register_device(dev, name, p2pbuf_nic_device);
}

/* All links are gone. */
void p2pbuf_nic_exit(void)
{
	p2pbuf_nic_bars_exit();
	put_device(p2pbuf_nic_device);
}

/**
 * p2pbuf_nic_dma_to_phys() - where a DMA address of the function leads
 * @addr: the address
 *
 * What the IOMMU or the switch would do with it. Where devices see the bus at
 * the addresses at which the CPU does, as on x86, a bus address is physical.
 *
 * Return: the physical address; 0 where the IOMMU would fault.
 */
phys_addr_t p2pbuf_nic_dma_to_phys(dma_addr_t addr)
{
	struct iommu_domain *domain;

	domain = iommu_get_domain_for_dev(p2pbuf_nic_device);
	if (domain && domain->type != IOMMU_DOMAIN_IDENTITY)
		return iommu_iova_to_phys(domain, addr);
	return dma_to_phys(p2pbuf_nic_device, addr);
}
