// SPDX-License-Identifier: BSD-3-Clause
// What the guest's operating system is told of the machine beside the processors (ACPI 6.5): the PCI
// bus and its window, the serial port, the power button, and how events come. Hardware-reduced: there
// is no fixed hardware but the sleep and reset registers of the FADT. Addresses: acpi.h, pci.h.
DefinitionBlock ("", "DSDT", 2, "INSULA", "INSULAVM", 1)
{
	Name (\_S5, Package () { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_SEG, 0)
			Name (_BBN, 0)
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite,
					0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
			})
		}

		// ECAM, which is no device's (PCI Firmware 3.2, 4.1.2)
		Device (ECAM)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, 0xE0000000, 0x00100000)
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03F8, 0x03F8, 0, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
			})
		}

		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, 0)
		}

		// Generic event device (5.6.9): one interrupt; the register says what happened
		Device (GED)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 5 }
			})
			OperationRegion (EVTR, SystemIO, 0x0610, 4)
			Field (EVTR, DWordAcc, NoLock, WriteAsZeros)
			{
				EVTS, 32
			}
			Method (_EVT, 1, Serialized)
			{
				Local0 = EVTS
				If (Local0 & 1)
				{
					Notify (PWRB, 0x80)
				}
			}
		}
	}
}
