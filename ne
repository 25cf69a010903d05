timeout: failed to run command ‘./d_new’: No such file or directory
