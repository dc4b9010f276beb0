# Interlude on a CPU, with everything that data sets of images, sounds and videos are read with.
#
#   docker build -t interlude .
#   docker run --rm -v "$PWD:/work" interlude run quickstart
#
# Runs and own scenarios are in the folder that is mounted as /work; data sets: -v /my/data:/data
FROM python:3.11-slim

COPY . /source
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir "/source[media]" \
    && rm -rf /source

RUN mkdir -p /data /work
ENV INTERLUDE_DATA=/data
WORKDIR /work
ENTRYPOINT ["interlude"]
CMD ["--help"]
