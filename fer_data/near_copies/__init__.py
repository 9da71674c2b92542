"""Find images that show the same photograph: cropped, scaled, shifted, mirrored, brightened, marked or saved again."""
