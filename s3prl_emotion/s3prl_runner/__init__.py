"""The only importer of s3prl: shims for current libraries, registration of our parts, launch of its Runner."""
