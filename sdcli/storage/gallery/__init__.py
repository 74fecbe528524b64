"""Write galleries: HTML pages that show a folder of images."""
