"""Doctor: can this machine do the main job, what is missing for what, and how is it mended?"""
