"""Read what files of LoRAs say, without torch."""
