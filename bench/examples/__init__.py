"""What a network says of ten thousand examples over two hundred epochs: recording, reading, and the page."""
