// The usual Express service: `node express.js MODE PORT FOLDER`.
const express = require('express');
const fs = require('node:fs');
const path = require('node:path');
const { pipeline } = require('node:stream/promises');

const [mode, port, folder] = process.argv.slice(2);
const app = express();
const file = (request) => path.join(folder, path.basename(request.params.name));

const record = {
  id: '01939f3c-8a4e-7000-8000-000000000000',
  name: 'a-file-with-a-name-of-forty-characters.x',
  content_type: 'application/octet-stream',
  size: 1048576,
  sha256: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
  created_at: '2026-11-22T10:00:00.000000Z',
  updated_at: '2026-11-22T10:00:00.000000Z',
};
app.get('/json', (request, response) => response.json(record));

const multer = require('multer');
if (mode === 'memory') {
  const form = multer({ storage: multer.memoryStorage() });
  app.post('/upload', form.single('file'), (request, response) => {
    fs.writeFileSync(path.join(folder, path.basename(request.file.originalname)), request.file.buffer);
    response.status(201).end();
  });
  app.get('/:name', (request, response) => response.send(fs.readFileSync(file(request))));
} else {
  const storage = multer.diskStorage({
    destination: folder,
    filename: (request, part, done) => done(null, path.basename(part.originalname)),
  });
  app.post('/upload', multer({ storage }).single('file'), (request, response) => response.status(201).end());
  app.put('/:name', async (request, response) => {
    await pipeline(request, fs.createWriteStream(file(request)));
    response.status(201).end();
  });
  app.get('/:name', (request, response) => response.sendFile(file(request)));
}
app.listen(Number(port), '127.0.0.1');
