-- Where in its message's text an image stands: the code points before it. NULL: after the text.

ALTER TABLE message_images ADD COLUMN at INTEGER;
