/**
 * What AWS does and the emulator does not, so that a test of it would test nothing there. Each is told in docs/testing.md, with where
 * it is tested instead.
 */
export type Lack = 'checks of PutEvents' | 'numbers as they are written';

/** Where the system under test is, and how its tests get in. They reach it through this alone. */
export type SystemUnderTest = {
  /** Nothing at the end. */
  apiUrl: string;
  /** Of the API, for who may do everything there. */
  token: string;
  /** What an upstream has as AWS_ENDPOINT_URL. */
  awsEndpoint: string;
  region: string;
  /** Of an upstream; the engine takes any. */
  credentials: { accessKeyId: string; secretAccessKey: string };
  /** What a client has to trust, PEM; null where it is plain HTTP. */
  certificate: string | null;
  busName: string;
  /** An address of this machine that the system may call. */
  receiverHost: string;
  lacks: readonly Lack[];
};

declare module 'vitest' {
  // oxlint-disable-next-line typescript/consistent-type-definitions -- vitest's own interface is extended
  interface ProvidedContext {
    system: SystemUnderTest;
  }
}
